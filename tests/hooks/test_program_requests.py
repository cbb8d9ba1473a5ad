"""Requests, phases and tokens from bare computations, against a program whose requests are known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from epi_protocol.events import KIND_NAME, SpanBatch
from hookrun.program.generation import Generation
from hookrun.program.requests import DECODE, PREFILL, Requests
from hookrun.sending.ring import SpanRing


def rows(ring: SpanRing) -> list[dict[str, Any]]:
    count, columns = ring.drain(1 << 16)
    return [{**row, "kind": KIND_NAME[row["kind"]]} for row in SpanBatch("r", 0, count, 0, columns).rows()]


REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "batch": st.integers(1, 4),
            "prompt": st.lists(st.integers(2, 30), min_size=1, max_size=3),  # chunks
            "decoded": st.integers(0, 6),
        }
    ),
    max_size=5,
)


@given(REQUESTS, st.booleans(), st.integers(0, 5))
def test_a_program_with_a_cache(requests: list[dict[str, Any]], marked: bool, late: int) -> None:
    """With or without generation marks, and with times that arrive some computations late."""
    ring = SpanRing(1 << 12)
    made, waiting, expected, now = Requests(ring), [], [], 0

    def computed(keep: int) -> None:
        while len(waiting) > keep:
            made.computed(*waiting.pop(0))

    for before, after in pairwise(requests):
        # A prompt one token longer than the last, behind nothing: without marks it is the last one's sequence, grown.
        grown = (
            sum(before["prompt"]) + 1 == after["prompt"][0] and len(before["prompt"]) == 1 and before["batch"] == after["batch"]
        )
        assume(marked or before["decoded"] or not grown)
    for number, request in enumerate(requests):
        if marked:
            made.generation_begins()
        past = 0
        for query, token in [*((chunk, -1) for chunk in request["prompt"]), *((1, token) for token in range(request["decoded"]))]:
            place = made.place(request["batch"], query, past)
            assert (place.request, place.token, place.batch) == (number, token, request["batch"])
            assert place.phase == (PREFILL if token < 0 else DECODE)
            waiting.append((place, now, now + 10))
            past, now = past + query, now + 15
            computed(late)
        if marked:
            computed(0)
            made.generation_ends(now)
        expected.append((number, request["batch"] * sum(request["prompt"]), request["batch"] * request["decoded"]))
    computed(0)
    made.close()
    seen = rows(ring)
    assert [(row["request"], row["count"]) for row in seen if row["kind"] == "prefill"] == [(n, p) for n, p, _d in expected]
    assert [(row["request"], row["count"]) for row in seen if row["kind"] == "decode"] == [(n, d) for n, _p, d in expected if d]
    assert [(row["request"], row["count"]) for row in seen if row["kind"] == "request"] == [(n, p + d) for n, p, d in expected]
    assert sum(row["kind"] == "token" for row in seen) == sum(request["decoded"] for request in requests)


@given(st.integers(1, 4), st.lists(st.tuples(st.integers(2, 20), st.integers(0, 5)), max_size=4))
def test_a_program_without_a_cache(batch: int, requests: list[tuple[int, int]]) -> None:
    made = Requests(SpanRing())
    for number, (prompt, decoded) in enumerate(requests):
        made.generation_begins()
        for token in range(-1, decoded):
            place = made.place(batch, prompt + token + 1, 0)
            assert (place.request, place.token, place.count) == (number, token, batch * (prompt + token + 1))
        made.generation_ends(0)


def test_a_guess_checked_in_one_go_is_one_token_of_several() -> None:
    made = Requests(SpanRing())
    made.generation_begins()
    assert made.place(1, 8, 0).phase == PREFILL
    assert made.place(1, 1, 8).phase == DECODE
    guess = made.place(1, 4, 9)
    assert (guess.phase, guess.token, guess.count) == (DECODE, 1, 4)


def test_a_past_that_is_not_known() -> None:
    """A cache whose length lies on the device: a long input after tokens begins the next request."""
    made = Requests(SpanRing())
    places = [made.place(1, query, None) for query in (6, 1, 1, 6, 1)]
    assert [(place.request, place.token) for place in places] == [(0, -1), (0, 0), (0, 1), (1, -1), (1, 0)]


def test_only_the_outermost_generation_counts() -> None:
    class Heard:
        def __init__(self) -> None:
            self.log: list[str] = []

        def generation_begins(self) -> None:
            self.log.append("begins")

        def generation_ends(self) -> None:
            self.log.append("ends")

    generation, heard = Generation(), Heard()
    generation.enter()
    generation.tell(heard)  # the model is met inside its first generation
    generation.enter()
    generation.leave()
    assert heard.log == ["begins"]
    generation.leave()
    generation.enter()
    generation.leave()
    assert heard.log == ["begins", "ends"] * 2
