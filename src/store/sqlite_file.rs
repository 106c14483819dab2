//! The file of an SQLite database: whether it exists, or could be made. Asked before anything is opened.

use std::str::FromStr;

use sqlx::sqlite::SqliteConnectOptions;

/// Says in one sentence why a database at this URL cannot be opened (or, with `create`, made). Other databases have no file.
pub fn check(url: &str, create: bool) -> Result<(), String> {
    if !url.starts_with("sqlite:") {
        return Ok(());
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| format!("{url} is no SQLite address: {error}"))?;
    let path = options.get_filename();
    if url.contains(":memory:") || path.is_file() {
        return Ok(());
    }
    if path.is_dir() {
        return Err(format!("{} is a folder, not a database file", path.display()));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        return Err(format!("the folder {} does not exist: make it first", folder.display()));
    }
    if create {
        return Ok(());
    }
    Err(format!("the file {} does not exist: `rebilld migrate` or `rebilld serve` makes it", path.display()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_missing_file_and_a_missing_folder_are_told_apart() {
        let folder = tempfile::tempdir().expect("folder");
        let url = |name: &str| format!("sqlite://{}/{name}", folder.path().display());
        assert_eq!(super::check(&url("a.db"), true), Ok(()));
        assert!(super::check(&url("a.db"), false).expect_err("no file").contains("a.db does not exist"));
        assert!(super::check(&url("no/a.db"), true).expect_err("no folder").contains("no does not exist: make it first"));
        assert!(super::check(&url(""), true).expect_err("a folder").contains("is a folder"));
        assert_eq!(super::check("postgres://h/d", false), Ok(()));
    }
}
