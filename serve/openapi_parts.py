"""Parts of the description of the HTTP interface: references, answers, failures and parameters (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def ref(name: str) -> Json:
    """A reference to one of the document's schemas."""
    return {"$ref": f"#/components/schemas/{name}"}


def answered(description: str, schema: str | Json) -> Json:
    """An answer in JSON, of the schema of that name or of the schema given."""
    content = {"application/json": {"schema": ref(schema) if isinstance(schema, str) else schema}}
    return {"description": description, "content": content}


def failures(*codes: int) -> Json:
    """The failures of a path, by status: those given, and those that every path has.

    Raises:
        KeyError: a status that the server does not answer with.
    """
    said = {
        400: "The request is not valid; the message says why.",
        401: "The token is missing or wrong.",
        403: "The request comes from a page of another site.",
        404: "Not found, or no longer kept.",
        408: "The request took too long to arrive.",
        413: "The request is too large.",
        415: "The body was not sent as application/json.",
        421: "The request names a host that this server does not know.",
        500: "The reading failed.",
        503: "The queue is full, a bank is being written, or memory ran out; try again later.",
    }
    return {str(code): answered(said[code], "Failure") for code in (*codes, 401, 403, 421)}


def in_path(name: str, description: str) -> Json:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def in_query(name: str, description: str, schema: Json) -> Json:
    """A parameter behind the path's ``?``, which may be left out."""
    return {"name": name, "in": "query", "description": description, "schema": schema}
