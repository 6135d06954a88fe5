"""Images are read in chunks; their rows are in order."""

from kit.competition import scan
from kit.competition.samples import load_competition


def test_chunks_cover_all_images_in_order(tiny_config, tiny, monkeypatch, tmp_path):
    competition = load_competition(tiny_config.competition, tiny)
    whole = scan.scan_images(competition, tmp_path / "whole.parquet")
    waiting: list[int] = []

    class Watched(scan.ThreadPoolExecutor):
        def map(self, function, *parts):
            waiting.append(len(parts[0]))
            return super().map(function, *parts)

    monkeypatch.setattr(scan, "CHUNK", 7)
    monkeypatch.setattr(scan, "ThreadPoolExecutor", Watched)
    in_parts = scan.scan_images(competition, tmp_path / "parts.parquet")
    assert list(in_parts["path"]) == [*competition.train["path"], *competition.test["path"]]
    assert in_parts.equals(whole)
    assert max(waiting) == 7
    assert sum(waiting) == len(whole)
