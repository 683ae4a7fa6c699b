"""Shared. Who looks after the jobs that have not ended: one at a time, while it says so."""

import redis

from app.jobs.keys import SWEEPER_KEY

# key; name, milliseconds of lease
LEAD = """
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

# key; name
RESIGN = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""


class Lease:
    """A name in Redis that expires unless its owner renews it; raises redis errors."""

    def __init__(self, client: "redis.Redis") -> None:
        self._lead = client.register_script(LEAD)
        self._resign = client.register_script(RESIGN)

    def take(self, name: str, lease_s: float) -> bool:
        """Whether `name` is the one that looks after the jobs, for `lease_s` seconds from now."""
        return bool(self._lead(keys=[SWEEPER_KEY], args=[name, round(lease_s * 1000)]))

    def resign(self, name: str) -> None:
        """Let another one take over at once, if `name` was the one."""
        self._resign(keys=[SWEEPER_KEY], args=[name])
