"""The probe that decides between KVM and TCG, with a real QEMU."""

import json
from pathlib import Path

import pytest

from bakehouse.hypervisor import accelerator
from bakehouse.hypervisor.accelerator import AcceleratorFinding, boot_probe_guest, find_accelerator
from bakehouse.hypervisor.spec import Accelerator, MachineError
from bakehouse.paths import StateDirectory
from tests.framework.tiny_host import UID

pytestmark = pytest.mark.programs


def test_the_probes_guest_runs_without_kvm() -> None:
    assert boot_probe_guest(Accelerator.TCG, uid=UID, time_limit_s=300) is None


def test_a_guest_that_never_finishes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # The boot sector's last jump, so that it halts for ever.
    monkeypatch.setattr(accelerator, "BOOT_SECTOR", b"\xfa\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa")
    failure = boot_probe_guest(Accelerator.TCG, uid=UID, time_limit_s=2)
    assert failure is not None
    assert "did not finish" in failure


def test_the_answer_is_kept_until_the_next_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDirectory(root=tmp_path)
    answers = iter(["first", "second"])

    def probe(*, uid: int | None) -> AcceleratorFinding:
        return AcceleratorFinding(accelerator=Accelerator.TCG, reason=next(answers))

    monkeypatch.setattr(accelerator, "probe_kvm", probe)
    assert find_accelerator(state, wanted="auto", uid=UID).reason == "first"
    assert find_accelerator(state, wanted="auto", uid=UID).reason == "first"
    entry = json.loads(state.accelerator.read_text())
    state.accelerator.write_text(json.dumps({**entry, "key": "another boot"}))
    assert find_accelerator(state, wanted="auto", uid=UID).reason == "second"


def test_a_damaged_answer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = StateDirectory(root=tmp_path)
    state.accelerator.write_text("{")
    found = AcceleratorFinding(accelerator=Accelerator.KVM, reason="it ran")
    monkeypatch.setattr(accelerator, "probe_kvm", lambda *, uid: found)
    assert find_accelerator(state, wanted="kvm", uid=UID) == found


def test_kvm_that_is_demanded_and_does_not_work_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = AcceleratorFinding(accelerator=Accelerator.TCG, reason="there is no /dev/kvm")
    monkeypatch.setattr(accelerator, "probe_kvm", lambda *, uid: found)
    with pytest.raises(MachineError, match="there is no /dev/kvm"):
        find_accelerator(StateDirectory(root=tmp_path), wanted="kvm", uid=UID)
    assert find_accelerator(StateDirectory(root=tmp_path), wanted="tcg", uid=UID).reason == "the settings say tcg"
