"""API process. What goes in and out, by resource.

Marshmallow schemas document it (and word the errors); on the hot routes msgspec Structs carry it.
"""
