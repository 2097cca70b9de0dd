"""Links into Temporal's UI. The paths are those of UI 2.54; Temporal Cloud has the same below its own address."""

from dataclasses import dataclass
from urllib.parse import quote

CLOUD_UI = "https://cloud.temporal.io"
_CLOUD_HOSTS = (".tmprl.cloud", ".api.temporal.io")


def ui_of(address: str, ui_url: str | None) -> str | None:
    """The address of the UI: the given one, Temporal Cloud's for an address of Cloud, else None."""
    if ui_url is not None:
        return ui_url.rstrip("/")
    return CLOUD_UI if address.rpartition(":")[0].lower().endswith(_CLOUD_HOSTS) else None


@dataclass(frozen=True, slots=True)
class Links:
    """The pages of one namespace in the UI at `ui`; without a UI every link is None."""

    ui: str | None
    namespace: str

    def executions(self, query: str) -> str | None:
        """The list of executions that a visibility query finds."""
        return self._page(f"workflows?query={quote(query, safe='')}")

    def execution(self, workflow_id: str, run_id: str) -> str | None:
        """One execution's history."""
        return self._page(f"workflows/{quote(workflow_id, safe='')}/{quote(run_id, safe='')}/history")

    def task_queue(self, name: str) -> str | None:
        """A task queue with its pollers."""
        return self._page(f"task-queues/{quote(name, safe='')}")

    def workers(self) -> str | None:
        """The workers of the namespace."""
        return self._page("workers")

    def deployment(self, name: str) -> str | None:
        """A worker deployment with its versions."""
        return self._page(f"worker-deployments/{quote(name, safe='')}")

    def _page(self, path: str) -> str | None:
        return None if self.ui is None else f"{self.ui}/namespaces/{quote(self.namespace, safe='')}/{path}"
