"""FLOPs and bytes of a token against a count by hand."""

import pytest

from epi_surgery.aim import Aim
from epi_surgery.architecture import architecture_of
from epi_surgery.gguf_file import GgufFile
from epi_surgery.make_plan import Ranking, make_plan, rank
from epi_surgery.progress import bar


def plan_of(path, aim, context):
    with GgufFile(path) as model:
        return make_plan(rank(model, Ranking(), None, bar), aim, context)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("context", [0, 100])
def test_a_token_by_hand(pico, tied, context):
    costs = plan_of(pico(tied=tied), Aim(0.25, "groups", "uniform"), context).per_token
    embedding, ff = 256, 512
    head = embedding * 300

    def matrices(n_head, n_kv):
        return 3 * (2 * n_head * 32 * embedding + 2 * n_kv * 32 * embedding + 3 * embedding * ff) + head

    def read(n_head, n_kv):
        norms = 7 * embedding
        return 4 * (matrices(n_head, n_kv) + norms + embedding) + 3 * n_kv * context * 64 * 2

    assert costs.flops.before == 2 * matrices(8, 4) + 3 * 8 * context * 2 * 64
    assert costs.flops.after == 2 * matrices(6, 3) + 3 * 6 * context * 2 * 64
    assert (costs.read_bytes.before, costs.read_bytes.after) == (read(8, 4), read(6, 3))


def test_the_ceiling_grows_with_context(pico):
    path = pico()
    short, long = (plan_of(path, Aim(0.5, "groups", "uniform"), context).per_token for context in (0, 4096))
    assert long.read_bytes.removed_share > short.read_bytes.removed_share
    assert long.flops.removed_share > short.flops.removed_share


def test_query_heads_alone_leave_the_cache_as_it_is(pico):
    path = pico()
    with GgufFile(path) as model:
        assert architecture_of(model).n_kv == (4, 4, 4)
    balanced = plan_of(path, Aim(0.5, "balanced", "uniform"), 1000)
    assert balanced.shares.kv_heads.before == balanced.shares.kv_heads.after
    groups = plan_of(path, Aim(0.5, "groups", "uniform"), 1000)
    assert groups.per_token.read_bytes.after < balanced.per_token.read_bytes.after
