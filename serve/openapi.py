"""The HTTP interface described in its usual language (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

from ..schemas.positions import READ_KINDS
from ..schemas.results import LENSES, RESULT_VERSION
from ..schemas.version import tool_version
from .settings import ServeSettings

Json = dict[str, Any]


def description(settings: ServeSettings) -> Json:
    """The document at ``/openapi.json``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lensbank",
            "version": tool_version(),
            "description": "What do the visual tokens of a vision-language model mean to its language model? "
            "Bring an image, ask for a reading, and take its layers as they are ready.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}] if settings.token is not None else [],
        "paths": {**_image_paths(settings), **_reading_paths(), **_lookup_paths(), **_server_paths()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(settings),
        },
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: str | Json) -> Json:
    content = {"application/json": {"schema": _ref(schema) if isinstance(schema, str) else schema}}
    return {"description": description, "content": content}


def _failures(*codes: int) -> Json:
    said = {
        400: "What was asked cannot be; the message says why.",
        401: "The token is missing or wrong.",
        403: "A page of another site asked.",
        404: "It is not there, or not any more.",
        408: "The request arrived too slowly.",
        413: "Too many bytes.",
        415: "Not sent as application/json.",
        421: "Another server's name.",
        500: "The reading failed.",
        503: "The queue is full, a bank is being written, or memory ran out; ask again later.",
    }
    return {str(code): _json(said[code], "Failure") for code in (*codes, 401, 403, 421)}


def _id(name: str, description: str) -> Json:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def _query(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _image_paths(settings: ServeSettings) -> Json:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "/api/images": {
            "post": {
                "summary": "Bring an image",
                "description": f"The body is the file: JPEG, PNG, WebP, GIF, BMP or TIFF, of up to "
                f"{settings.max_bytes:,} bytes and {settings.max_pixels:,} pixels. It is kept in memory alone.",
                "parameters": [_query("name", "What the file is called.", {"type": "string"})],
                "requestBody": {"required": True, "content": {"application/octet-stream": binary, "image/*": binary}},
                "responses": {"201": _json("It can be asked about.", "Image"), **_failures(400, 408, 413)},
            }
        },
        "/api/images/{image}": {
            "get": {
                "summary": "A small picture of it",
                "parameters": [_id("image", "From POST /api/images.")],
                "responses": {
                    "200": {"description": "The picture.", "content": {"image/png": binary, "image/jpeg": binary}},
                    **_failures(404),
                },
            }
        },
    }


def _reading_paths() -> Json:
    reading, name = _id("reading", "From POST /api/readings."), "/api/readings/{reading}"
    forms = {"type": "string", "enum": ["json", "html", "png"], "default": "json"}
    texts = {"type": "array", "items": {"type": "string"}}
    wait = {"type": "number", "minimum": 0, "maximum": 60, "default": 0}
    done = _json(
        "The reading, as `lensbank query --format json` writes it.", {"type": "array", "items": _ref("Reading")}
    )
    done["content"] |= {"text/html": {"schema": {"type": "string"}}}
    done["content"] |= {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    question = {"required": True, "content": {"application/json": {"schema": _ref("Question")}}}
    stream = {
        "description": "Events `state` (Progress), `answer` (`answer`: what the model has said so far, at each of its "
        "tokens), `layer` (a Reading of one layer; `id` counts them), and at the end "
        "`done`, `failed` or `cancelled` (Progress); `bye` when the server stops.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    seen = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, "description": "Layers already had."}
    return {
        "/api/readings": {
            "post": {
                "summary": "Ask for a reading",
                "description": "It is queued: one model makes one reading at a time.",
                "requestBody": question,
                "responses": {"202": _json("It is queued.", "Progress"), **_failures(400, 404, 408, 413, 415, 503)},
            }
        },
        name: {
            "get": {
                "summary": "How far it is; once it is done, the reading",
                "parameters": [
                    reading,
                    _query("format", "Of the reading: JSON, the page, or the figure.", forms),
                    _query("wait", "Seconds to wait for it.", wait),
                    _query("download", "As a file.", {"type": "string"}),
                    _query("with", "Further readings in the same page or JSON.", texts),
                ],
                "responses": {
                    "200": done,
                    "202": _json("It is not done.", "Progress"),
                    "410": _json("It was cancelled.", "Progress"),
                    **_failures(400, 404, 500, 503),
                },
            },
            "delete": {
                "summary": "Cancel it",
                "description": "The model stops after the layer, or the token of its answer, that it is at.",
                "parameters": [reading],
                "responses": {"200": _json("How far it was.", "Progress"), **_failures(404)},
            },
        },
        f"{name}/about": {
            "get": {
                "summary": "How far it is, and what was asked",
                "parameters": [reading],
                "responses": {"200": _json("How far it is.", "Progress"), **_failures(404)},
            }
        },
        f"{name}/events": {
            "get": {
                "summary": "Its layers as they are ready",
                "parameters": [reading, seen],
                "responses": {"200": stream, **_failures(400, 404)},
            }
        },
    }


def _lookup_paths() -> Json:
    text, whole, document = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "object"}
    texts = {"type": "array", "items": text}

    def needed(name: str, description: str, schema: Json) -> Json:
        return {**_query(name, description, schema), "required": True}

    return {
        "/api/find": {
            "get": {
                "summary": "Indexed images with a word",
                "description": "What `lensbank find WORD --format json` says.",
                "parameters": [
                    needed("word", "Any of them.", texts),
                    _query("lens", "Whose words.", {"enum": list(LENSES)}),
                    _query("where", "Conditions on patches, as `--where` takes them.", texts),
                    _query("model", "The one of this server's that indexed them; whichever by default.", text),
                    _query("bank", "Names of image banks; those of the model by default.", texts),
                    _query("top_k", "Images.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}),
                ],
                "responses": {"200": _json("What was found.", document), **_failures(400, 404, 500, 503)},
            }
        },
        "/api/indexed": {
            "get": {
                "summary": "Images of the store's image banks",
                "description": "Some `images`, how many there are (`total`), and the `after` of the `next` ones.",
                "parameters": [
                    _query("model", "The one of this server's that indexed them; whichever by default.", text),
                    _query("limit", "Images.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 40}),
                    _query("name", "What their names hold.", text),
                    _query("bank", "Names of image banks; those of the model by default.", texts),
                    _query("after", "The next of the page before.", {"type": "string", "format": "uuid"}),
                ],
                "responses": {"200": _json("Their ids and names.", document), **_failures(400, 404, 500, 503)},
            }
        },
        "/api/indexed/{image}": {
            "post": {
                "summary": "Take an indexed image as if it had been brought",
                "description": "Possible where the server still has the file that was indexed.",
                "parameters": [_id("image", "From GET /api/indexed; the sha256 of a patch that was found.")],
                "responses": {"201": _json("It can be asked about.", "Image"), **_failures(400, 404, 413, 500, 503)},
            }
        },
        "/api/contexts": {
            "get": {
                "summary": "A corpus token's other contexts",
                "parameters": [
                    needed("layer", "Of the bank.", whole),
                    needed("token_id", "Of the vocabulary, as neighbours have it.", whole),
                    _query("model", "One of this server's; the first by default.", text),
                    _query("limit", "Contexts.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}),
                ],
                "responses": {"200": _json("Their number, and some.", document), **_failures(400, 404, 500, 503)},
            }
        },
    }


def _server_paths() -> Json:
    document = {"type": "object"}
    return {
        "/api/server": {
            "get": {
                "summary": "Models, lenses and bounds",
                "responses": {"200": _json("What can be asked.", document), **_failures()},
            }
        },
        "/openapi.json": {
            "get": {"summary": "This description", "responses": {"200": _json("OpenAPI 3.1.", document), **_failures()}}
        },
    }


def _schemas(settings: ServeSettings) -> Json:
    text, whole = {"type": "string"}, {"type": "integer"}
    texts = {"type": "array", "items": text}
    layers = {"oneOf": [text, whole, {"type": "array", "items": whole}], "examples": ["0,8-16", "all"]}
    question = {
        "images": {**texts, "maxItems": settings.max_images, "description": "Ids of images; or give text."},
        "text": {**text, "maxLength": settings.max_text, "description": "To read instead of images."},
        "model": {**text, "description": "One of this server's; the first by default."},
        "prompt": {**text, "maxLength": settings.max_text, "description": "What the model is asked about the image."},
        "layers": {**layers, "description": "To read; by default 0 and those of the banks."},
        "bank_layers": {**layers, "description": "To search; all by default."},
        "lenses": {"type": "array", "items": {"enum": list(LENSES)}, "uniqueItems": True, "default": ["latent"]},
        "where": {
            **texts,
            "description": "Conditions on neighbours, as `--where` takes them.",
            "examples": [["is_word=true"]],
        },
        "distinct": {"enum": ["word"], "description": "Every word at most once per token."},
        "top_k": {**whole, "minimum": 1, "maximum": settings.max_top_k, "default": 5},
        "patches": {
            "type": "array",
            "items": {"type": "array", "items": whole, "minItems": 2, "maxItems": 2},
            "description": "[row, column] of the patches to read; all by default.",
        },
        "exact": {"type": "boolean", "default": True},
        "centre": {
            "type": "boolean",
            "default": False,
            "description": "Compare states less their mean, with centred banks.",
        },
        "centre_images": {
            **texts,
            "maxItems": settings.max_centre_images,
            "description": "Ids of the images whose mean is subtracted; by default that of the image asked about.",
        },
        "read": {"type": "array", "items": {"enum": list(READ_KINDS)}, "uniqueItems": True, "default": ["image"]},
        "answer": {**text, "maxLength": settings.max_text, "description": "What the model is made to answer."},
        "answer_tokens": {
            **whole,
            "minimum": 1,
            "maximum": settings.max_answer,
            "description": "At most; 32 by default.",
        },
    }
    nothing = {"type": "null"}
    progress = {
        "id": text,
        "status": {"enum": ["queued", "running", "done", "failed", "cancelled"]},
        "ahead": {**whole, "description": "Readings that will be made before it."},
        "answer": {"oneOf": [text, nothing], "description": "What the model has said so far, where it answers."},
        "layers_done": whole,
        "layers": {"oneOf": [whole, nothing]},
        "first_ms": {"oneOf": [whole, nothing], "description": "From asking to the first layer."},
        "total_ms": {"oneOf": [whole, nothing], "description": "From asking to the end."},
        "error": {"oneOf": [_ref("Error"), nothing]},
        "question": {**_ref("Question"), "description": "As it was asked."},
    }
    error = {"kind": text, "message": text, "hint": text}
    image = {"id": text, "name": text, "width": whole, "height": whole, "notes": texts}
    reading = {
        "version": {"const": RESULT_VERSION},
        "kind": {"enum": ["image", "text"]},
        "source": text,
        "layers": {"type": "array", "items": {"type": "object"}},
    }
    return {
        "Question": {"type": "object", "properties": question, "additionalProperties": False},
        "Progress": {"type": "object", "properties": progress, "required": list(progress)},
        "Image": {"type": "object", "properties": image, "required": list(image)},
        "Error": {"type": "object", "properties": error, "required": list(error)},
        "Failure": {"type": "object", "properties": {"error": _ref("Error")}, "required": ["error"]},
        "Reading": {
            "type": "object",
            "properties": reading,
            "required": list(reading),
            "description": "All fields: docs/results.md.",
        },
    }
