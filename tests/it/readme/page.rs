//! README.md taken apart: its fenced blocks with the comments that say how to run them, its links and its inline code.

use std::path::Path;

/// How a block is to be treated; the comment at the top of README.md explains each.
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
    /// Of the opening fence, from 1.
    pub line: usize,
    pub kind: Kind,
    pub text: String,
}

pub fn path(relative: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub fn read(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// Every fenced block, in order; panics at one that does not say what it is.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    let mut comment = "";
    while let Some((at, line)) = lines.next() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let (kind, wanted) = Kind::of(comment)
                .unwrap_or_else(|| panic!("README.md:{}: no known comment before the block, but {comment:?}", at + 1));
            assert_eq!(language, wanted, "README.md:{}: a block of the kind {comment:?}", at + 1);
            let mut text = String::new();
            loop {
                let (_, line) = lines.next().unwrap_or_else(|| panic!("README.md:{}: the block never ends", at + 1));
                if line.trim_start().starts_with("```") {
                    break;
                }
                text += line;
                text.push('\n');
            }
            blocks.push(Block { line: at + 1, kind, text });
        }
        comment = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")).unwrap_or("");
    }
    blocks
}

/// The page without its fenced blocks and comments.
pub fn prose(page: &str) -> String {
    let mut prose = String::new();
    let (mut fenced, mut comment) = (false, false);
    for line in page.lines() {
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

/// What stands between single backticks.
pub fn inline_code(prose: &str) -> Vec<&str> {
    prose.split('`').skip(1).step_by(2).collect()
}

/// The targets of links.
pub fn links(prose: &str) -> Vec<&str> {
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchors that GitHub makes of the headings.
pub fn anchors(prose: &str) -> Vec<String> {
    let kept = |c: char| c.is_alphanumeric() || c == ' ' || c == '-' || c == '_';
    let anchor = |title: &str| title.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-");
    prose.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#').trim())).collect()
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
#[should_panic(expected = "README.md:3: no known comment before the block")]
fn a_block_that_says_nothing_about_itself_is_refused() {
    blocks("text\n\n```sh\nrm -rf /\n```\n");
}
