"""The HTTP interface described in its usual language (OpenAPI 3.1)."""

from __future__ import annotations

from ..schemas.positions import READ_KINDS
from ..schemas.results import LENSES, RESULT_VERSION
from ..schemas.version import tool_version
from .openapi_lookups import lookup_paths
from .openapi_parts import Json, answered, failures, in_path, in_query, ref
from .settings import ServeSettings


def description(settings: ServeSettings) -> Json:
    """The document at ``/openapi.json``."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lensbank",
            "version": tool_version(),
            "description": "What do the visual tokens of a vision-language model mean to its language model? "
            "Upload an image, request a reading, and receive its layers one by one.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}] if settings.token is not None else [],
        "paths": {**_image_paths(settings), **_reading_paths(), **lookup_paths(), **_server_paths()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(settings),
        },
    }


def _image_paths(settings: ServeSettings) -> Json:
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "/api/images": {
            "post": {
                "summary": "Upload an image",
                "description": f"The body is the file: JPEG, PNG, WebP, GIF, BMP or TIFF, at most "
                f"{settings.max_bytes:,} bytes and {settings.max_pixels:,} pixels. It is kept in memory only.",
                "parameters": [in_query("name", "Name of the file.", {"type": "string"})],
                "requestBody": {"required": True, "content": {"application/octet-stream": binary, "image/*": binary}},
                "responses": {"201": answered("Ready for questions.", "Image"), **failures(400, 408, 413)},
            }
        },
        "/api/images/{image}": {
            "get": {
                "summary": "A small version of an image",
                "parameters": [in_path("image", "From POST /api/images.")],
                "responses": {
                    "200": {"description": "The picture.", "content": {"image/png": binary, "image/jpeg": binary}},
                    **failures(404),
                },
            }
        },
    }


def _reading_paths() -> Json:
    reading, name = in_path("reading", "From POST /api/readings."), "/api/readings/{reading}"
    forms = {"type": "string", "enum": ["json", "html", "csv", "png", "svg", "pdf"], "default": "json"}
    texts = {"type": "array", "items": {"type": "string"}}
    wait = {"type": "number", "minimum": 0, "maximum": 60, "default": 0}
    done = answered(
        "The reading, as `lensbank query --format json` writes it.", {"type": "array", "items": ref("Reading")}
    )
    for kind in ("text/html", "text/csv", "image/svg+xml"):
        done["content"] |= {kind: {"schema": {"type": "string"}}}
    for kind in ("image/png", "application/pdf"):
        done["content"] |= {kind: {"schema": {"type": "string", "format": "binary"}}}
    question = {"required": True, "content": {"application/json": {"schema": ref("Question")}}}
    stream = {
        "description": "Events `state` (Progress), `answer` (`answer`: the model's answer so far, at each of its "
        "tokens), `layer` (a Reading of one layer; `id` is its number), and at the end "
        "`done`, `failed` or `cancelled` (Progress); `bye` when the server stops. Where the model answers by itself, "
        "every layer comes twice: before the answer, and with the answer's tokens.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
    seen = {
        "name": "Last-Event-ID",
        "in": "header",
        "schema": {"type": "string"},
        "description": "Last layer received.",
    }
    return {
        "/api/readings": {
            "post": {
                "summary": "Request a reading",
                "description": "The reading is queued: a model makes one reading at a time.",
                "requestBody": question,
                "responses": {
                    "202": answered("Queued.", "Progress"),
                    **failures(400, 404, 408, 413, 415, 503),
                },
            }
        },
        name: {
            "get": {
                "summary": "The reading, or its progress",
                "parameters": [
                    reading,
                    in_query("format", "Format of the reading: JSON, the page, or the figure.", forms),
                    in_query("wait", "Seconds to wait for the reading.", wait),
                    in_query("download", "Send the reading as a file.", {"type": "string"}),
                    in_query("with", "Ids of further readings to put into the same page or JSON.", texts),
                ],
                "responses": {
                    "200": done,
                    "202": answered("The reading is not finished.", "Progress"),
                    "410": answered("The reading was cancelled.", "Progress"),
                    **failures(400, 404, 500, 503),
                },
            },
            "delete": {
                "summary": "Cancel a reading",
                "description": "The model stops after the current layer, or the current token of its answer.",
                "parameters": [reading],
                "responses": {"200": answered("The progress so far.", "Progress"), **failures(404)},
            },
        },
        f"{name}/about": {
            "get": {
                "summary": "The progress of a reading, and its question",
                "parameters": [reading],
                "responses": {"200": answered("The progress.", "Progress"), **failures(404)},
            }
        },
        f"{name}/events": {
            "get": {
                "summary": "The layers of a reading, as soon as each is ready",
                "parameters": [reading, seen],
                "responses": {"200": stream, **failures(400, 404)},
            }
        },
    }


def _server_paths() -> Json:
    document = {"type": "object"}
    return {
        "/api/server": {
            "get": {
                "summary": "Models, lenses and limits of the server",
                "responses": {"200": answered("What a question can contain.", document), **failures()},
            }
        },
        "/openapi.json": {
            "get": {
                "summary": "This description",
                "responses": {"200": answered("OpenAPI 3.1.", document), **failures()},
            }
        },
    }


def _schemas(settings: ServeSettings) -> Json:
    text, whole = {"type": "string"}, {"type": "integer"}
    texts = {"type": "array", "items": text}
    layers = {"oneOf": [text, whole, {"type": "array", "items": whole}], "examples": ["0,8-16", "all"]}
    question = {
        "images": {
            **texts,
            "maxItems": settings.max_images,
            "description": "Ids of images; give either images or text.",
        },
        "text": {**text, "maxLength": settings.max_text, "description": "Text to read instead of images."},
        "model": {**text, "description": "One of this server's models. Default: the first."},
        "prompt": {**text, "maxLength": settings.max_text, "description": "The question that goes with the image."},
        "layers": {**layers, "description": "Layers to read. Default: 0 and those of the banks."},
        "bank_layers": {**layers, "description": "Bank layers to search. Default: all."},
        "lenses": {"type": "array", "items": {"enum": list(LENSES)}, "uniqueItems": True, "default": ["latent"]},
        "where": {
            **texts,
            "description": "Conditions on neighbours, as `--where` takes them.",
            "examples": [["is_word=true"]],
        },
        "distinct": {"enum": ["word"], "description": "Show each word at most once per token."},
        "top_k": {**whole, "minimum": 1, "maximum": settings.max_top_k, "default": 5},
        "patches": {
            "type": "array",
            "items": {"type": "array", "items": whole, "minItems": 2, "maxItems": 2},
            "description": "Patches to read, each as [row, column]. Default: all.",
        },
        "exact": {"type": "boolean", "default": True},
        "centre": {
            "type": "boolean",
            "default": False,
            "description": "Subtract the mean state before comparing; needs centred banks.",
        },
        "centre_images": {
            **texts,
            "maxItems": settings.max_centre_images,
            "description": "Ids of the images whose mean is subtracted. Default: those of the question.",
        },
        "read": {"type": "array", "items": {"enum": list(READ_KINDS)}, "uniqueItems": True, "default": ["image"]},
        "answer": {**text, "maxLength": settings.max_text, "description": "Text to use as the model's answer."},
        "answer_tokens": {
            **whole,
            "minimum": 1,
            "maximum": settings.max_answer,
            "description": "Maximum number of answer tokens. Default: 32.",
        },
    }
    nothing = {"type": "null"}
    progress = {
        "id": text,
        "status": {"enum": ["queued", "running", "done", "failed", "cancelled"]},
        "ahead": {**whole, "description": "Number of readings before this one in the queue."},
        "answer": {"oneOf": [text, nothing], "description": "The model's answer so far, if it gives one."},
        "layers_done": whole,
        "layers": {"oneOf": [whole, nothing]},
        "first_ms": {"oneOf": [whole, nothing], "description": "Milliseconds from the request to the first layer."},
        "total_ms": {"oneOf": [whole, nothing], "description": "Milliseconds from the request to the end."},
        "error": {"oneOf": [ref("Error"), nothing]},
        "question": {**ref("Question"), "description": "The question of the request."},
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
        "Failure": {"type": "object", "properties": {"error": ref("Error")}, "required": ["error"]},
        "Reading": {
            "type": "object",
            "properties": reading,
            "required": list(reading),
            "description": "All fields: docs/results.md.",
        },
    }
