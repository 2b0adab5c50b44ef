"""A store that fails one request of a run: a few of them; all by `python -m tests.benchmarks.failing_requests`."""

import pytest

from tests.benchmarks import failing_requests
from tests.runtime import stores

pytestmark = [pytest.mark.slow, pytest.mark.stores, pytest.mark.filterwarnings("ignore")]
TRIED = 5  # requests, evenly spread, of each kind; others of each


@pytest.fixture(scope="module", params=["gs", "s3"])
def prepared(request):
    with stores.serve(request.param) as objects:
        yield objects, failing_requests.requests_of_a_run(objects)


@pytest.mark.parametrize("kind", failing_requests.KINDS)
def test_whichever_request_fails_the_newest_marked_checkpoint_reads_and_the_run_goes_on(prepared, kind):
    objects, total = prepared
    assert total > 30
    every = total // TRIED
    for number in range(1 + failing_requests.KINDS.index(kind) * every // 3, total + 1, every):
        failing_requests.fail(objects, number, kind)
