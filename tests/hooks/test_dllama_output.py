"""The output of distributed-llama, byte for byte as it is printed, however it is cut into chunks."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hookrun.dllama.output import Batch, OutputReader, Record, Token

START = """📄 AddBos: 0
💡 Arch: Llama
💡 nLayers: 30
📀 RequiredMemory: 155 MB
⭕ Socket[0]: connecting to 127.0.0.1:19991 worker
⭕ Socket[0]: connected
⭕ Network is initialized
🧠 CPU: avx2 avx512f
💿 Loading weights...
💿 Weights loaded
"""
PROMPT = "Once upon a time, there was a little girl named"
EVAL = "🔷️ Eval   13 ms Sync   41 ms | Sent   381 kB Recv  1318 kB | (10 tokens)\n"
END = """
Evaluation
   nBatches: 32
    nTokens: 10
   tokens/s: 179.13 (5.58 ms/tok)
Prediction
    nTokens: 14
   tokens/s: 84.99 (11.77 ms/tok)
⭕ Network is closed
"""
ONE_TOKEN_END = END.replace("179.13 (5.58", "-nan (-nan")

pieces = st.text(st.sampled_from(" ab\n~é🔶€|"), max_size=8).filter(lambda piece: piece != "~")


def pred(piece: str, ms: int = 3) -> str:
    return f"🔶 Pred{ms:5d} ms Sync    7 ms | Sent    38 kB Recv   131 kB | {piece}\n"


def read(data: bytes, cuts: list[int], prompt: str | None = PROMPT) -> tuple[list[Record], OutputReader]:
    reader, records = OutputReader(prompt), []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for number, (begin, end) in enumerate(pairwise(edges)):
        records += reader.feed(data[begin:end], number)
    return records + reader.close(), reader


def without_times(records: list[Record]) -> list[tuple]:
    return [tuple(getattr(record, name) for name in record.__slots__ if name != "at_ns") for record in records]


@given(st.lists(pieces, min_size=1, max_size=6), st.lists(st.integers(0, 5000), max_size=12))
def test_records_are_the_same_however_the_output_is_cut(texts: list[str], cuts: list[int]) -> None:
    data = (START + PROMPT + "\n" + EVAL + "".join(map(pred, texts)) + END).encode()
    records, reader = read(data, cuts)
    assert without_times(records) == [(13, 41, 381, 1318, 10), *((3, 7, 38, 131, text) for text in texts)]
    assert reader.finished
    assert reader.errors == []


def test_a_piece_without_text_is_none_and_one_of_line_ends_is_kept() -> None:
    records, _reader = read((START + PROMPT + "\n" + EVAL + pred("~") + pred("\n") + pred("\n\nsat") + END).encode(), [])
    assert [record.piece for record in records if isinstance(record, Token)] == [None, "\n", "\n\nsat"]


def test_each_record_bears_the_time_of_the_chunk_it_began_in() -> None:
    reader = OutputReader(PROMPT)
    assert reader.feed((START + PROMPT + "\n" + EVAL).encode(), 100) == [Batch(13, 41, 381, 1318, 10, 100)]
    assert reader.feed(pred(" a").encode(), 200) == []
    (token,) = reader.feed(pred(" b").encode(), 300)
    assert (token.at_ns, reader.feed(END.encode(), 400)[0].at_ns) == (200, 300)


def test_a_prompt_that_looks_like_output_is_not_output() -> None:
    prompt = EVAL + pred(" no") + "🚨 no\n\nEvaluation\n   nBatches: 32"
    records, reader = read((START + prompt + "\n" + EVAL + pred(" yes") + END).encode(), [150, 400], prompt)
    assert [record.piece for record in records if isinstance(record, Token)] == [" yes"]
    assert len(records) == 2
    assert reader.errors == []


def test_a_prompt_of_one_token_has_no_batches_and_figures_that_are_no_numbers() -> None:
    records, reader = read((START + "Hi\n" + pred(" a") + ONE_TOKEN_END).encode(), [], "Hi")
    assert len(records) == 1
    assert reader.finished


def test_a_program_that_dies_leaves_its_words_and_the_tokens_so_far() -> None:
    said = "🚨 Execution error: Connection reset by peer\n🚨 Critical error: Execution failed in one of the threads\n"
    records, reader = read((START + PROMPT + "\n" + EVAL + pred(" a") + pred(" b") + said).encode(), [])
    assert len(records) == 3
    assert reader.errors == [
        "Execution error: Connection reset by peer",
        "Critical error: Execution failed in one of the threads",
    ]
    cut, _reader = read((START + PROMPT + "\n" + EVAL + pred(" a") + "🔶 Pred    3 ms Sync").encode(), [])
    assert without_times(cut)[1][-1].startswith(" a")


def test_a_line_that_never_ends_is_not_kept_for_ever() -> None:
    reader = OutputReader(None)
    for _ in range(10):
        assert reader.feed(b"x" * 20_000, 0) == []
    assert len(reader._buffer) <= 1 << 16


def test_bytes_that_are_no_text_are_replaced() -> None:
    data = (START + PROMPT + "\n").encode() + pred("X").encode().replace(b"X", b"\xff\xfe") + END.encode()
    (token,) = read(data, [])[0]
    assert isinstance(token, Token)
    assert token.piece == "\ufffd\ufffd"
