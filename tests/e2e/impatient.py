"""What `app.api.asgi` has, but patient for a moment only with bodies that stop coming."""

from app.api import create_front
from app.api.reading import Patience
from app.config import load

application = create_front(load().settings, patience=Patience(0.3))
