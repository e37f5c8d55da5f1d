import subprocess
import sys

import torch

from clickflow.tracking.lineage import command_line, environment_report, git_state, lineage_tags, machine_tags, thread_tags


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.invalid", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def test_clean_changed_and_untracked_states_of_a_clone_are_told_apart(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "a.py").write_text("1")
    (tmp_path / ".gitignore").write_text("outputs\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "a")
    commit = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "outputs").write_text("ignored files do not count")
    assert git_state(tmp_path) == (commit, "false")
    (tmp_path / "b.py").write_text("a new file may be imported")
    assert git_state(tmp_path) == (commit, "true")
    (tmp_path / "b.py").unlink()
    (tmp_path / "a.py").write_text("2")
    assert git_state(tmp_path) == (commit, "true")
    assert lineage_tags(tmp_path)["mlflow.source.git.commit"] == commit


def test_folder_outside_git_and_clone_without_a_commit_are_unknown(tmp_path):
    assert git_state(tmp_path) == ("unknown", "unknown")
    git(tmp_path, "init")
    assert git_state(tmp_path) == ("unknown", "unknown")


def test_an_environment_inside_somebody_elses_repository_is_unknown(tmp_path):
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "a project that uses clickflow")
    package = tmp_path / ".venv" / "clickflow"
    package.mkdir(parents=True)
    (package / "errors.py").write_text("")
    assert git_state(package) == ("unknown", "unknown")


def test_machine_without_git_is_unknown_and_still_has_tags(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    tags = lineage_tags(tmp_path)
    assert (tags["git.commit"], tags["git.dirty"]) == ("unknown", "unknown")
    assert "mlflow.source.git.commit" not in tags
    assert tags["mlflow.user"]


def test_command_line_can_be_pasted_into_a_shell(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python", "pipelines/train.py", "data.path=my log.csv"])
    monkeypatch.setattr(sys, "argv", ["pipelines/train.py", "++data.path=my log.csv"])  # what a program makes of it does not matter
    assert command_line() == "python pipelines/train.py 'data.path=my log.csv'"
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python", "/usr/bin/clickflow", "train", "data.path=my log.csv"])
    assert command_line() == "clickflow train 'data.path=my log.csv'"


def test_environment_report_names_python_threads_and_packages():
    report = environment_report()
    assert f"python: {sys.version.split()[0]}" in report
    assert "torch_threads: " in report
    assert "\nmlflow==" in report


def test_the_command_is_told_without_passwords(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "train.py", "tracking.uri=postgresql://ada:pw@host/db"])
    assert command_line() == "python3 train.py 'tracking.uri=postgresql://ada:***@host/db'"
    assert "ada:***@host" in environment_report()


def test_the_processor_and_its_instructions_are_told():
    assert machine_tags()["machine.cpu"].endswith(f"({torch.backends.cpu.get_cpu_capability()})")
    assert thread_tags() == {"machine.threads": "1"}
