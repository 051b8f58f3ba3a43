"""What steps left, sealed when it is made and looked at before it is used."""

from __future__ import annotations

from typing import Any

from tfx_pipeline.errors import DataError
from tfx_pipeline.files.manifest import check_manifest, has_manifest, write_manifest
from tfx_pipeline.files.reading import exists


class StepOutputs:
    """The output folders of the steps of one run.

    A folder gets its manifest when the step that filled it has ended. One that has a manifest, because the step came
    from the cache or looked it up, is compared with it; one of a version before manifests is taken as it is.
    """

    def __init__(self) -> None:
        self._folders: dict[str, list[str]] = {}

    def add(self, node: str, artifacts: dict[str, list[Any]], *, fresh: bool, checksums: bool) -> None:
        """Takes note of a step's outputs.

        Args:
            node: the step.
            artifacts: its output artifacts by channel.
            fresh: whether it ran in this run.
            checksums: whether contents are compared too.

        Raises:
            DataError: an output is not what its manifest says; with what makes it anew.
        """
        folders = {artifact.uri for of_channel in artifacts.values() for artifact in of_channel}
        self._folders[node] = sorted(folder for folder in folders if exists(folder))
        for folder in self._folders[node]:
            if fresh and not has_manifest(folder):
                write_manifest(folder)
            else:
                _check(node, folder, checksums)

    def check(self, nodes: list[str], *, checksums: bool) -> None:
        """Compares what these steps left with its manifests.

        Raises:
            DataError: as `add`.
        """
        for node in nodes:
            for folder in self._folders.get(node, []):
                _check(node, folder, checksums)


def _check(node: str, folder: str, checksums: bool) -> None:
    if has_manifest(folder):
        try:
            check_manifest(folder, checksums=checksums)
        except DataError as error:
            raise DataError(f"{node}: {error}\nTo make it anew: dmf run --no-cache {node}") from None
