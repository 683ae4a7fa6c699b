"""API process. Answers of /health."""

from marshmallow import Schema, fields


class LiveSchema(Schema):
    """The process answers."""

    live = fields.Boolean(required=True)


class ReadySchema(Schema):
    """A prediction can be made."""

    ready = fields.Boolean(required=True)
    model = fields.String(required=True, metadata={"description": "The default version."})
    cache = fields.String(
        required=True,
        metadata={"description": "`shared`, or `in-process only` while Redis does not answer it."},
    )
