//! A page for readers taken apart: its fenced blocks with the comments that say how to run them, its headings, links and inline code.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// How a block is to be treated; `docs/development.md` explains each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Run,
    Background,
    Demo,
    Install,
    Develop,
    Test,
    Sql,
    File(String),
    Output,
    /// Output in which any number may stand for any other.
    OutputLike,
}

impl Kind {
    /// The kind that a comment names, and the language its block must be in.
    fn of(comment: &str) -> Option<(Self, &'static str)> {
        Some(match comment {
            "command: run" => (Self::Run, "sh"),
            "command: background" => (Self::Background, "sh"),
            "command: demo" => (Self::Demo, "sh"),
            "command: install" => (Self::Install, "sh"),
            "command: develop" => (Self::Develop, "sh"),
            "command: test" => (Self::Test, "sh"),
            "command: sql" => (Self::Sql, "sql"),
            "output" => (Self::Output, "text"),
            "output: like" => (Self::OutputLike, "text"),
            _ => (Self::File(comment.strip_prefix("command: file ")?.to_owned()), "toml"),
        })
    }
}

#[derive(Debug, Clone)]
pub struct Block {
    /// Page and line of the opening fence, as in `README.md:12`.
    pub place: String,
    pub line: usize,
    pub kind: Kind,
    pub text: String,
}

/// A heading that GitHub makes an anchor of.
struct Heading {
    line: usize,
    level: usize,
    anchor: String,
}

pub struct Page {
    /// Its path from the root of the project.
    pub name: String,
    pub text: String,
}

pub fn path(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub fn read(relative: &str) -> String {
    fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

impl Page {
    pub fn read(name: &str) -> Self {
        Self { name: name.to_owned(), text: read(name) }
    }

    /// Every page: those of the top level, and all of `docs`.
    pub fn all() -> Vec<Self> {
        let mut pages = Vec::new();
        for folder in ["", "docs", "docs/decisions"] {
            let entries = fs::read_dir(path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
            let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
            let names = names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"));
            pages.extend(names.map(|name| Self::read(format!("{folder}/{name}").trim_start_matches('/'))));
        }
        pages.sort_by(|a, b| a.name.cmp(&b.name));
        pages
    }

    /// Every fenced block, in order; panics at one that does not say what it is.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines().enumerate();
        let mut comment = "";
        while let Some((at, line)) = lines.next() {
            if let Some(language) = line.trim_start().strip_prefix("```") {
                let place = format!("{}:{}", self.name, at + 1);
                let (kind, wanted) =
                    Kind::of(comment).unwrap_or_else(|| panic!("{place}: no known comment before the block, but {comment:?}"));
                assert_eq!(language, wanted, "{place}: a block of the kind {comment:?}");
                let mut text = String::new();
                loop {
                    let (_, line) = lines.next().unwrap_or_else(|| panic!("{place}: the block never ends"));
                    if line.trim_start().starts_with("```") {
                        break;
                    }
                    text += line;
                    text.push('\n');
                }
                blocks.push(Block { place, line: at + 1, kind, text });
            }
            comment = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).unwrap_or("");
        }
        blocks
    }

    /// The blocks from the heading with this anchor to the next heading of its level.
    pub fn section(&self, anchor: &str) -> Vec<Block> {
        let headings = self.headings();
        let at = headings.iter().position(|heading| heading.anchor == anchor);
        let at = at.unwrap_or_else(|| panic!("{} has no section {anchor}", self.name));
        let from = &headings[at];
        let end = headings[at + 1..].iter().find(|heading| heading.level <= from.level).map_or(usize::MAX, |next| next.line);
        self.blocks().into_iter().filter(|block| (from.line..end).contains(&block.line)).collect()
    }

    /// The page or section whose commands come before those of this page. The text must link to it, so that a reader knows.
    pub fn setup(&self) -> Option<String> {
        let target = self.text.lines().find_map(|line| line.strip_prefix("<!-- setup: ")?.strip_suffix(" -->"))?;
        assert!(links(&self.prose()).contains(&target), "{}: the text does not name its setup {target}", self.name);
        Some(self.resolve(target))
    }

    /// The blocks of the setup.
    pub fn setup_blocks(&self) -> Vec<Block> {
        let Some(target) = self.setup() else { return Vec::new() };
        match target.split_once('#') {
            Some((page, anchor)) => Self::read(page).section(anchor),
            None => Self::read(&target).blocks(),
        }
    }

    /// A link as a path from the root of the project, with its anchor.
    pub fn resolve(&self, link: &str) -> String {
        if link.starts_with('#') {
            return format!("{}{link}", self.name);
        }
        let mut parts: Vec<Component> = Path::new(&self.name).components().collect();
        parts.pop();
        for part in Path::new(link).components() {
            match part {
                Component::ParentDir => drop(parts.pop().unwrap_or_else(|| panic!("{}: {link} leaves the project", self.name))),
                Component::CurDir => {}
                part => parts.push(part),
            }
        }
        parts.iter().collect::<PathBuf>().to_string_lossy().into_owned()
    }

    /// The page without its fenced blocks and comments.
    pub fn prose(&self) -> String {
        let mut prose = String::new();
        let (mut fenced, mut comment) = (false, false);
        for line in self.text.lines() {
            let fence = line.trim_start().starts_with("```");
            comment |= line.starts_with("<!--");
            if !fenced && !fence && !comment {
                prose += line;
                prose.push('\n');
            }
            comment &= !line.ends_with("-->");
            fenced ^= fence;
        }
        prose
    }

    fn headings(&self) -> Vec<Heading> {
        let kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
        let anchor = |title: &str| title.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-");
        let mut headings = Vec::new();
        let mut fenced = false;
        for (at, line) in self.text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            let title = line.trim_start_matches('#');
            let level = line.len() - title.len();
            if !fenced && level > 0 && title.starts_with(' ') {
                headings.push(Heading { line: at + 1, level, anchor: anchor(title.trim()) });
            }
        }
        headings
    }

    pub fn has_anchor(&self, anchor: &str) -> bool {
        self.headings().iter().any(|heading| heading.anchor == anchor)
    }
}

/// What stands between single backticks.
pub fn inline_code(prose: &str) -> Vec<&str> {
    prose.split('`').skip(1).step_by(2).collect()
}

/// The targets of links.
pub fn links(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// Why the promised lines do not appear in this order in what was printed.
pub fn missing(promised: &str, printed: &str, any_number: bool) -> Option<String> {
    let plain = |line: &str| if any_number { numberless(line) } else { line.trim_end().to_owned() };
    let mut printed = printed.lines().map(plain);
    let mut wanted = promised.lines().map(plain).filter(|line| !line.is_empty() && line != "…");
    wanted.find(|wanted| !printed.any(|line| fits(wanted, &line)))
}

fn numberless(line: &str) -> String {
    let words = line.split_whitespace().map(|word| {
        let mut digits = false;
        word.chars()
            .filter_map(|c| {
                if c.is_ascii_digit() {
                    (!std::mem::replace(&mut digits, true)).then_some('0')
                } else {
                    digits = false;
                    Some(c)
                }
            })
            .collect::<String>()
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Whether a line is as the pattern says, in which … stands for anything.
fn fits(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else { return pattern == line };
    let Some(mut line) = line.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split('…').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match line.find(part) {
            Some(at) => line = &line[at + part.len()..],
            None => return false,
        }
    }
    line.ends_with(end)
}

#[test]
fn promised_output_is_really_compared() {
    assert_eq!(missing("a\n…\nc 7\n", "a\nb\nc 7\n", false), None);
    assert_eq!(missing("a\nc 7\n", "c 7\na\n", false), Some("c 7".into()));
    assert_eq!(missing("c 8\n", "c 7\n", false), Some("c 8".into()));
    assert_eq!(missing("total  12.50 USD\n", "total 7345.10   USD\n", true), None);
    assert_eq!(missing("total 12.50 USD\n", "total 12.50 EUR\n", true), Some("total 0.0 USD".into()));
    assert!(fits("…is…up", "it is all up") && !fits("…is…up", "it is all down") && !fits("up…", "it is up"));
}

#[test]
#[should_panic(expected = "docs/a.md:3: no known comment before the block")]
fn a_block_that_says_nothing_about_itself_is_refused() {
    Page { name: "docs/a.md".into(), text: "text\n\n```sh\nrm -rf /\n```\n".into() }.blocks();
}

#[test]
#[should_panic(expected = "docs/a.md: the text does not name its setup ../README.md#start")]
fn a_setup_that_the_reader_is_not_told_of_is_refused() {
    Page { name: "docs/a.md".into(), text: "<!-- setup: ../README.md#start -->\ntext\n".into() }.setup();
}

#[test]
fn a_section_ends_at_the_next_heading_of_its_level_and_links_start_at_their_page() {
    let block = |name: &str| format!("<!-- command: run -->\n```sh\n# {name}\n```\n");
    let text = format!("# T\n## One\n{}### Part\n{}## Two\n{}", block("a"), block("b"), block("c"));
    let page = Page { name: "docs/a.md".into(), text };
    let texts = |anchor: &str| page.section(anchor).into_iter().map(|block| block.text).collect::<Vec<_>>();
    assert_eq!(texts("one"), ["# a\n", "# b\n"]);
    assert_eq!(texts("two"), ["# c\n"]);
    assert_eq!(page.resolve("../config/x.toml"), "config/x.toml");
    assert_eq!(page.resolve("b.md#two"), "docs/b.md#two");
    assert_eq!(page.resolve("#two"), "docs/a.md#two");
}
