"""The documentation as a site: docs/SUMMARY.md lists every page, and mdBook builds it without a dead link.

usage: site.py [<mdbook> <folder>]

Without arguments, only the list is checked. With the path of mdbook, the site is built into the folder
(as book/), and every link and anchor of every page that it has is followed.
"""

import html.parser
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# The pages, and files that they link to.
ALSO = ("*.svg", "*.md", "docs/proxies/*", "deploy/*", ".env.production", "LICENSE-*", "config/*", "tests/clients/*", "examples/backend/*", "docs/*.yaml")


def tracked(*patterns):
    """Names of the project's files that match, those that are about to be added too."""
    command = ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "--"]
    listed = subprocess.run([*command, *patterns], check=True, capture_output=True, text=True).stdout
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def listed_pages():
    """The pages of SUMMARY.md, as paths from the project's root."""
    targets = re.findall(r"\]\(([^)]+)\)", (DOCS / "SUMMARY.md").read_text())
    return [(DOCS / target).resolve().relative_to(ROOT).as_posix() for target in targets]


def check_summary():
    """Every page that is listed exists once, and every document for readers is listed."""
    pages = listed_pages()
    problems = [f"listed, but not there: {page}" for page in pages if not (ROOT / page).is_file()]
    problems += [f"listed twice: {page}" for page in sorted(set(pages)) if pages.count(page) > 1]
    wanted = tracked("*.md", ":!docs/SUMMARY.md", ":!bench/*", ":!tests/*", ":!fuzz/*")
    problems += [f"not listed: {page}" for page in wanted if page not in pages]
    return [f"docs/SUMMARY.md: {problem}" for problem in problems]


def build(mdbook, folder):
    """Lays the pages out as they are in the project, so that their links hold, and builds them."""
    source = folder / "src"
    for name in tracked(*ALSO):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    summary = (DOCS / "SUMMARY.md").read_text()
    summary = re.sub(r"\]\((?!\.\./)", "](docs/", summary).replace("](../", "](")
    (source / "SUMMARY.md").write_text(summary)
    (source / "docs/SUMMARY.md").unlink()
    for name in ("book.toml", "site.css"):
        shutil.copy(DOCS / name, folder / name)
    subprocess.run([mdbook, "build", folder], check=True)


class Page(html.parser.HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.anchors.add(attributes.get("id", ""))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def dead_links(book):
    """Links of the site's pages that lead nowhere within it."""
    made = [path for path in book.rglob("*.html") if path.name not in ("print.html", "404.html", "toc.html")]
    pages = {path.resolve(): Page(path) for path in made}
    problems = []
    for path, page in pages.items():
        for link in page.links:
            url = urllib.parse.urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / urllib.parse.unquote(url.path)).resolve() if url.path else path
            known = pages.get(target)
            if not target.exists() or (known and urllib.parse.unquote(url.fragment) not in known.anchors):
                problems.append(f"{path.relative_to(book)}: dead link: {link}")
    return problems


def main():
    problems = check_summary()
    if not problems and len(sys.argv) == 3:
        mdbook, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
        build(mdbook, folder)
        problems = dead_links(folder / "book")
    if problems:
        sys.exit("\n".join(problems))
    print(f"docs/SUMMARY.md: {len(listed_pages())} pages")


if __name__ == "__main__":
    main()
