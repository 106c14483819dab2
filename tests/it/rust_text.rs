//! Rust source told apart into code and string literals, and the paths it names: just enough of a reader for the architecture rules.

/// One source file. Line numbers of all parts are those of the file.
pub struct Text {
    /// Comments and the insides of literals blanked out.
    pub code: String,
    /// Line where it begins, and contents as written.
    pub strings: Vec<(usize, String)>,
}

impl Text {
    pub fn read(source: &str) -> Self {
        let chars: Vec<char> = source.chars().collect();
        let mut text = Self { code: String::with_capacity(source.len()), strings: Vec::new() };
        let (mut i, mut line) = (0, 1);
        while i < chars.len() {
            let rest = &chars[i..];
            let after_word = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
            let (length, literal) = match rest {
                ['/', '/', ..] => (rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()), None),
                ['/', '*', ..] => (block_comment(rest), None),
                ['r', '"' | '#', ..] if !after_word => raw_string(rest, 1),
                ['b', 'r', '"' | '#', ..] if !after_word => raw_string(rest, 2),
                ['"', ..] => string(rest),
                ['\'', '\\', ..] => {
                    (2 + rest[3.min(rest.len())..].iter().position(|c| *c == '\'').map_or(0, |end| end + 2), None)
                }
                ['\'', _, '\'', ..] => (3, None),
                _ => (0, None),
            };
            if length == 0 {
                text.code.push(chars[i]);
                line += usize::from(chars[i] == '\n');
                i += 1;
                continue;
            }
            text.strings.extend(literal.map(|literal| (line, literal)));
            for c in &rest[..length.min(rest.len())] {
                text.code.push(if *c == '\n' { '\n' } else { ' ' });
                line += usize::from(*c == '\n');
            }
            i += length;
        }
        text
    }

    /// The code up to its inline test module, which by custom comes last.
    pub fn without_tests(&self) -> &str {
        let tests =
            self.code.find("#[cfg(test)]\nmod tests {").or_else(|| self.code.find("#[cfg(test)]\npub(crate) mod tests {"));
        &self.code[..tests.unwrap_or(self.code.len())]
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut i) = (0, 0);
    while i < rest.len() {
        match &rest[i..] {
            ['/', '*', ..] => (depth, i) = (depth + 1, i + 2),
            ['*', '/', ..] if depth == 1 => return i + 2,
            ['*', '/', ..] => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    rest.len()
}

fn string(rest: &[char]) -> (usize, Option<String>) {
    let mut i = 1;
    while i < rest.len() && rest[i] != '"' {
        i += if rest[i] == '\\' { 2 } else { 1 };
    }
    let end = i.min(rest.len());
    (end + 1, Some(rest[1..end].iter().collect()))
}

fn raw_string(rest: &[char], prefix: usize) -> (usize, Option<String>) {
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let open = prefix + hashes + 1;
    if rest.get(open - 1) != Some(&'"') {
        return (0, None); // a raw identifier such as r#type
    }
    let closes = |at: &usize| rest[*at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    let end = (open..rest.len()).find(closes).unwrap_or(rest.len());
    (end + 1 + hashes, Some(rest[open..end].iter().collect()))
}

/// Every path from the crate's root that this code names, with its line: `crate::…` anywhere, groups taken apart,
/// and as many `super::` as lead up to the root.
pub fn crate_paths(file: &str, code: &str) -> Vec<(usize, Vec<String>)> {
    let inner = file.strip_prefix("src/").unwrap_or(file);
    let depth = inner.split('/').count() - usize::from(inner.ends_with("/mod.rs"));
    let mut found = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root) {
            let before = code[..at].chars().next_back();
            // `$crate::`, `mycrate::`, or the tail of a longer row of supers, which cannot be.
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            tree(code, at + root.len(), &mut Vec::new(), &mut found);
        }
    }
    found.sort();
    found
}

/// Reads one use tree at `at` and returns where it ends.
fn tree(code: &str, mut at: usize, path: &mut Vec<String>, found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let skip = |at: usize| at + code[at..].len() - code[at..].trim_start().len();
    let length = path.len();
    at = skip(at);
    let start = at;
    loop {
        if code[at..].starts_with('{') {
            at = skip(at + 1);
            while at < code.len() && !code[at..].starts_with('}') {
                let end = skip(tree(code, at, path, found));
                let end = if code[end..].starts_with(',') { skip(end + 1) } else { end };
                // Whatever this is, it is no use tree: never stand still.
                if end == at {
                    break;
                }
                at = end;
            }
            path.truncate(length);
            return (at + 1).min(code.len());
        }
        let word = code[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len() - at);
        path.push(code[at..at + word].to_owned());
        at += word;
        if word == 0 || !code[at..].starts_with("::") {
            break;
        }
        at += 2;
    }
    found.push((code[..start].lines().count().max(1) + usize::from(code[..start].ends_with('\n')), path.clone()));
    path.truncate(length);
    // `as other` belongs to this leaf.
    let end = code[at..].find([',', '}', ';', '\n']).unwrap_or(code.len() - at);
    at + end
}

#[test]
fn code_and_strings_are_told_apart() {
    let text = Text::read(
        "let a = \"x // \\\" y\"; // \"no\"\n/* \"no\" /* */ */ let b = r#\"q\"z\"#; let c = '\"'; let d = '\\''; fn e<'a>() {} b\"bytes\"",
    );
    assert_eq!(text.strings, [(1, "x // \\\" y".to_owned()), (2, "q\"z".to_owned()), (2, "bytes".to_owned())]);
    assert!(text.code.contains("fn e<'a>() {}") && !text.code.contains("no"), "{}", text.code);
}

#[test]
fn paths_are_taken_apart() {
    let code = "use crate::{\n    a::{b, c as d},\n    e,\n};\nfn f() { crate::g::h(); super::i::j() }";
    let paths: Vec<(usize, String)> =
        crate_paths("src/x.rs", code).into_iter().map(|(line, path)| (line, path.join("::"))).collect();
    let expected = [(2, "a::b"), (2, "a::c"), (3, "e"), (5, "g::h"), (5, "i::j")];
    assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
}
