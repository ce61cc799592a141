"""Requests per minute, requests per day and a spending cap."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from annotator.endpoint import Endpoint
from annotator.predictors.chat.ledger import AnswerLedger

_DAY = 24 * 60 * 60.0


class Limits:
    """Says when the next request may leave, or why none may.

    The cap counts what was spent plus, for each request that is under way, the dearest one so far: it is overshot by no
    more than the difference between those and the dearest to come.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: AnswerLedger,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._endpoint, self._ledger, self._clock, self._sleep = endpoint, ledger, clock, sleep
        self._lock = threading.Lock()
        self._next = 0.0
        self._under_way = 0

    def refusal(self) -> str | None:
        """Why no further request may leave, ``None`` where one may; counts it as under way then."""
        with self._lock:
            reason = self._day_is_full() or self._cap_is_reached()
            if reason is None:
                self._under_way += 1
            return reason

    def done(self) -> None:
        """A request that :meth:`refusal` let through has ended."""
        with self._lock:
            self._under_way -= 1

    def wait(self) -> None:
        """Block until the request may leave: requests are spaced evenly over the minute."""
        rate = self._endpoint.requests_per_minute
        if rate is None:
            return
        with self._lock:
            now = self._clock()
            start = max(now, self._next)
            self._next = start + 60.0 / rate
        if start > now:
            self._sleep(start - now)

    def _day_is_full(self) -> str | None:
        allowed = self._endpoint.requests_per_day
        if allowed is None or self._ledger.sent_since(self._clock() - _DAY) < allowed:
            return None
        return f"requests_per_day = {allowed} is used up; run again later with --retry-failed"

    def _cap_is_reached(self) -> str | None:
        cap = self._endpoint.max_cost_usd
        if cap is None:
            return None
        spent, dearest = self._ledger.spent()
        if spent + (self._under_way + 1) * dearest <= cap:
            return None
        return f"max_cost_usd = {cap:g} is reached ({spent:.4f} spent); raise it and run again with --retry-failed"
