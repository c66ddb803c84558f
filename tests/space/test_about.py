"""The About tab: its equations are drawn, its links are well formed, and its two snippets run as they stand."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image
from playwright.sync_api import expect

from ncsn_pipeline.space.about import CITATION, client_snippet, diffusers_snippet

pytestmark = pytest.mark.browser


@pytest.fixture
def page(page):
    """The open tab."""
    page.get_by_role("tab", name="About / API").click()
    page.locator("#about-client .cm-content").wait_for()
    return page


def text_of(page, element):
    return "\n".join(page.locator(f"#{element} .cm-line").all_text_contents()).strip()


def test_the_equations_are_drawn_and_the_links_lead_to_papers(page):
    expect(page.locator("#about-equations .katex-display")).to_have_count(5)
    assert page.locator(".about .katex-error").count() == 0
    assert "$" not in page.locator("#about-equations").inner_text()
    links = [link.get_attribute("href") for link in page.locator(".about a:not([download])").all()]
    assert len(links) >= 8
    assert {urlsplit(link).hostname for link in links} <= {"arxiv.org", "doi.org", "jmlr.org"}
    assert CITATION.count("@") == 3 and CITATION.count("{") == CITATION.count("}")


def test_the_client_snippet_names_this_address_and_runs(page, address, capsys):
    expect(page.locator("#about-client")).to_contain_text(address)
    snippet = text_of(page, "about-client")
    assert snippet == client_snippet(address).strip()
    names = {}
    exec(snippet, names)
    drawn = names["drawn"]
    assert Image.open(drawn["images"]).width > 100
    assert (drawn["status"], drawn["evaluations"]) == ("done", 20)
    assert "particles that end in the other mode" in capsys.readouterr().out


def test_the_diffusers_snippet_runs(page, model_folder, monkeypatch, tmp_path):
    snippet = text_of(page, "about-diffusers")
    assert snippet == diffusers_snippet(f"./{model_folder.name}", has_classes=True).strip()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / model_folder.name).symlink_to(model_folder)
    monkeypatch.chdir(tmp_path)
    assert 'class_labels="random", ' in snippet and "class_labels" not in diffusers_snippet("user/model", False)
    names = {}
    exec(snippet, names)
    assert len(names["images"]) == 4
    assert Image.open(Path("sample.png")).size == (8, 8)
