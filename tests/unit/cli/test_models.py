"""`annotator models` as it is typed."""

import json


def test_list_says_where_weights_are_and_under_which_licence(run):
    done = run("models", "list")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert "to pull, 0.12 GB" in lines["mivolo-v2-384"]
    assert "iitolstykh/mivolo_v2@53393526c220" in lines["mivolo-v2-384"]
    assert "unpinned" in lines["sharegpt4v-7b"]
    assert " here " in lines["demo-mivolo"]
    rows = {row["name"]: row for row in json.loads(run("models", "list", "--json").out)}
    assert rows["sharegpt4v-13b"]["memory_gb"] > rows["sharegpt4v-7b"]["memory_gb"]


def test_verify_prints_the_sha256_and_loads_strictly(run):
    done = run("models", "verify", "demo-mivolo", "--json")
    assert done.code == 0
    (row,) = json.loads(done.out)
    assert len(row["sha256"]) == 64
    assert row["parameters"] > 1000
    missing = run("models", "verify", "mivolo-v2-384")
    assert (missing.code, missing.err.count("\n")) == (1, 1)
    assert "annotator models pull mivolo-v2-384" in missing.err


def test_pull_without_network_and_convert_of_nothing_are_one_line(run, monkeypatch):
    monkeypatch.setenv("ANNOTATOR_HUB_ENDPOINT", "http://127.0.0.1:9")
    done = run("models", "pull", "mivolo-v2-384")
    assert done.code == 1
    assert "models pull mivolo-v2-384 --from FOLDER" in done.err.splitlines()[-1]
    done = run("models", "convert", "nowhere", "out")
    assert (done.code, done.err.count("\n")) == (1, 1)
