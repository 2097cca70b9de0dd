"""The live verdict is asked of the loop itself."""

import pytest
from temporalio.client import Client

from copilot import bootstrap
from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode
from tests.workflows.conftest import Observed, a_cluster


@pytest.mark.servers
async def test_a_loop_that_does_not_run_or_has_no_worker_is_said(client: Client) -> None:
    observed = Observed(client, a_cluster())
    live = bootstrap.LoopLive(client, timeout_sec=1)
    with pytest.raises(SourceError, match="`copilot start` starts it") as error:
        await live.evaluation(observed.cluster.name)
    assert error.value.code is MissingCode.ABSENT
    await observed.start()
    with pytest.raises(SourceError, match="does `copilot worker` run") as error:
        await live.evaluation(observed.cluster.name)
    assert error.value.code is MissingCode.TIMEOUT
