"""Look-ups of the HTTP interface described in OpenAPI 3.1: words in image banks, indexed images, contexts of tokens."""

from __future__ import annotations

from ..schemas.results import LENSES
from .openapi_parts import Json, answered, failures, in_path, in_query


def lookup_paths() -> Json:
    """The paths of the document that look something up."""
    text, whole, document = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "object"}
    texts = {"type": "array", "items": text}

    def needed(name: str, description: str, schema: Json) -> Json:
        return {**in_query(name, description, schema), "required": True}

    return {
        "/api/find": {
            "get": {
                "summary": "Indexed images with a word",
                "description": "The answer is that of `lensbank find WORD --format json`.",
                "parameters": [
                    needed("word", "Words to look for; a patch needs one of them.", texts),
                    in_query("lens", "Lens whose words are searched.", {"enum": list(LENSES)}),
                    in_query("where", "Conditions on patches, as `--where` takes them.", texts),
                    in_query("model", "Model that indexed the images. Default: any of this server's models.", text),
                    in_query("bank", "Names of image banks. Default: those of the model.", texts),
                    in_query("top_k", "Most images.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 20}),
                ],
                "responses": {"200": answered("What was found.", document), **failures(400, 404, 500, 503)},
            }
        },
        "/api/indexed": {
            "get": {
                "summary": "Images of the store's image banks",
                "description": "One page of `images`, the `total` number, and `next`: `after` for the next page.",
                "parameters": [
                    in_query("model", "Model that indexed the images. Default: any of this server's models.", text),
                    in_query("limit", "Page size.", {"type": "integer", "minimum": 1, "maximum": 200, "default": 40}),
                    in_query("name", "Text that is part of their names.", text),
                    in_query("bank", "Names of image banks. Default: those of the model.", texts),
                    in_query(
                        "after", "The value of `next` from the page before.", {"type": "string", "format": "uuid"}
                    ),
                ],
                "responses": {
                    "200": answered("Ids and names.", document),
                    **failures(400, 404, 500, 503),
                },
            }
        },
        "/api/indexed/{image}": {
            "post": {
                "summary": "Use an indexed image like an uploaded one",
                "description": "Possible if the server still has the indexed file.",
                "parameters": [in_path("image", "Id from GET /api/indexed, or the sha256 of a patch that was found.")],
                "responses": {
                    "201": answered("Ready for questions.", "Image"),
                    **failures(400, 404, 413, 500, 503),
                },
            }
        },
        "/api/contexts": {
            "get": {
                "summary": "Other contexts of a corpus token",
                "parameters": [
                    needed("layer", "Layer of the bank.", whole),
                    needed("token_id", "Token id, as in the neighbours of a reading.", whole),
                    in_query("model", "One of this server's models. Default: the first.", text),
                    in_query(
                        "limit",
                        "Maximum number of contexts.",
                        {"type": "integer", "minimum": 1, "maximum": 200, "default": 20},
                    ),
                ],
                "responses": {
                    "200": answered("Their number, and some of them.", document),
                    **failures(400, 404, 500, 503),
                },
            }
        },
    }
