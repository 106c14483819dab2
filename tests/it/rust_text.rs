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

/// Where a file stands in the tree of modules, from the crate's root.
pub fn module_of(file: &str) -> Vec<String> {
    let inner = file.strip_prefix("src/").unwrap_or(file).trim_end_matches(".rs");
    inner.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

/// Every path that this code names by `crate::`, `self::` or `super::`, from the crate's root, with its line. Groups are taken apart.
pub fn crate_paths(file: &str, code: &str) -> Vec<(usize, Vec<String>)> {
    let here = module_of(file);
    let roots = [("crate::", here.len()), ("self::", 0), ("super::", 1)];
    let mut starts: Vec<(usize, &str, usize)> = roots
        .iter()
        .flat_map(|(root, ups)| code.match_indices(root).map(move |(at, _)| (at, *root, *ups)))
        .filter(|(at, ..)| code[..*at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !"_:$".contains(c)))
        .collect();
    starts.sort_unstable();
    let mut found = Vec::new();
    let mut read = 0;
    for (at, root, ups) in starts {
        // Part of a group that has been read.
        if at < read {
            continue;
        }
        let mut path = here[..here.len().saturating_sub(ups)].to_vec();
        let end = tree(code, at + root.len(), &mut path, &mut found);
        if code[..end].ends_with('}') {
            read = end;
        }
    }
    found.sort();
    found
}

/// Reads one use tree at `at` and returns where it ends.
fn tree(code: &str, mut at: usize, path: &mut Vec<String>, found: &mut Vec<(usize, Vec<String>)>) -> usize {
    let skip = |at: usize| at + code[at..].len() - code[at..].trim_start().len();
    let base = path.clone();
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
            path.clone_from(&base);
            return (at + 1).min(code.len());
        }
        let word = code[at..].find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len() - at);
        match &code[at..at + word] {
            "super" => drop(path.pop()),
            word => path.push(word.to_owned()),
        }
        at += word;
        if word == 0 || !code[at..].starts_with("::") {
            break;
        }
        at += 2;
    }
    found.push((code[..start].lines().count().max(1) + usize::from(code[..start].ends_with('\n')), path.clone()));
    path.clone_from(&base);
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
    let code = "use crate::{\n    a::{b, c as d},\n    e,\n};\nfn f() { crate::g::h(); super::i::j() }\nuse self::k;";
    let paths: Vec<(usize, String)> =
        crate_paths("src/x.rs", code).into_iter().map(|(line, path)| (line, path.join("::"))).collect();
    let expected = [(2, "a::b"), (2, "a::c"), (3, "e"), (5, "g::h"), (5, "i::j"), (6, "x::k")];
    assert_eq!(paths, expected.map(|(line, path)| (line, path.to_owned())));
    let paths = crate_paths("src/a/b/c.rs", "use super::{d, super::e};\nuse super::super::f;");
    assert_eq!(paths.iter().map(|(_, path)| path.join("::")).collect::<Vec<_>>(), ["a::b::d", "a::e", "a::f"]);
}
