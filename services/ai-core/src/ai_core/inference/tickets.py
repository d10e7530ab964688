"""Admission: bounded counts of requests per model and key, and when to come back if one is full."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ai_core.errors import Overloaded
from ai_core.inference.appointments import Appointment, Appointments, always
from ai_core.inference.throughput import Throughput

REMEMBERED_KEYS = 1_024
"""Keys without requests whose rate is remembered."""


class Places:
    """So many places, and what is known about those who are in them or want to be."""

    def __init__(self, count: int, side_by_side: int) -> None:
        self.count = count
        self.taken = 0
        self.rate = Throughput(side_by_side)
        self.appointments = Appointments()

    @property
    def full(self) -> bool:
        """There is none left."""
        return self.taken >= self.count

    def advance(self, now: float) -> None:
        """To be called before anything changes."""
        self.rate.advance(now, self.taken)

    def lacks_room_for(self, appointment: Appointment | None, now: float) -> bool:
        """There is no place for somebody with this appointment, or with none."""
        room = self.count - self.taken
        return not self.appointments.free_for(appointment, now, room, self.rate.per_second())

    def wait(self, appointment: Appointment | None, now: float) -> int:
        """Seconds after which to come back."""
        lacking = 1 + self.taken - self.count
        return self.appointments.wait(appointment, now, lacking, self.rate.per_second())


@dataclass(frozen=True, slots=True)
class Ticket:
    """One place of a model, which is one of its key's as well."""

    key_id: str


class Tickets:
    """The places of one model: those that run side by side, and those that wait.

    A single key gets some of them only, so that there is always room for others.
    """

    def __init__(self, running: int, waiting: int, waiting_per_key: int | None = None) -> None:
        """``waiting_per_key`` None: a key may take all."""
        self._running = running
        self._all = Places(running + waiting, running)
        per_key = waiting if waiting_per_key is None else min(waiting_per_key, waiting)
        self.places_per_key = running + per_key
        self._keys: dict[str, Places] = {}

    @property
    def places(self) -> int:
        """Of all keys together."""
        return self._all.count

    @property
    def taken(self) -> int:
        """By all keys together."""
        return self._all.taken

    def take(self, now: float, key_id: str, fingerprint: Callable[[], int]) -> Ticket:
        """Take a place.

        Args:
            fingerprint: gives a number that is the same when the same request comes again; asked for only
                when there is not enough room for all.

        Raises:
            Overloaded: all places are taken, or all that one key may have; with when to come back.
        """
        own = self._own(key_id)
        both = (own, self._all)
        scarce = any(places.full or len(places.appointments) for places in both)
        who = fingerprint() if scarce else 0
        appointments = [places.appointments.arrived(who, now) for places in both]
        for places in both:
            places.advance(now)
        lacking = [places.lacks_room_for(one, now) for places, one in zip(both, appointments, strict=True)]
        if any(lacking):
            raise self._refusal(own, now, who, appointments, lacking)
        for places, one in zip(both, appointments, strict=True):
            places.taken += 1
            if one is not None:
                places.appointments.kept(one)
        return Ticket(key_id)

    def give_back(self, ticket: Ticket, now: float, *, served: bool) -> None:
        """Free a place. ``served``: the engine had accepted the request; those that it refused say nothing
        about how fast places become free."""
        for places in (self._keys[ticket.key_id], self._all):
            places.advance(now)
            places.taken -= 1
            if served:
                places.rate.ended()

    def _refusal(
        self, own: Places, now: float, who: int, before: list[Appointment | None], lacking: list[bool]
    ) -> Overloaded:
        """One time for both, behind all who are expected wherever there is no place."""
        concerned = [
            (places, one)
            for places, one, short in zip((own, self._all), before, lacking, strict=True)
            if short or one is not None
        ]
        wait = max(places.wait(one, now) for places, one in concerned)
        for places, one in concerned:
            # What a key could not take anyway is not kept from others.
            may_enter = always if places is own else (lambda: not own.full)
            places.appointments.make(who, now, wait, one, may_enter)
        first, which = (own, "that one API key may have") if lacking[0] else (self._all, "for this model")
        gone = "taken" if first.full else "taken or kept for others"
        return Overloaded(
            f"All {first.count} places {which} are {gone}. Try again in {wait} s.", retry_after=float(wait)
        )

    def _own(self, key_id: str) -> Places:
        places = self._keys.get(key_id)
        if places is None:
            if len(self._keys) >= REMEMBERED_KEYS:
                self._keys = {key: places for key, places in self._keys.items() if places.taken}
            places = self._keys[key_id] = Places(self.places_per_key, self._running)
        return places
