//! A database of its own for each test, of either kind: empty, or with the tables that the migrations make.
//!
//! Migrations run once, on a template. A test gets a copy of it, which costs a fraction of them. A template goes by the digest of the
//! migrations, so that it is never an old one.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::LazyLock,
};

use rebilld::store::Db;
use tempfile::TempDir;

use crate::postgres;

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// What a test is given; [`on_both`] makes and ends it.
pub trait Fixture: Sized {
    /// None where PostgreSQL is left out.
    async fn set_up(on: On) -> Option<Self>;

    async fn tear_down(self) {}
}

/// Two tests of one body, one for each database.
macro_rules! on_both {
    ($($(#[$meta:meta])* async fn $name:ident($fixture:ident: $($kind:tt)+) $body:block)+) => {$(
        async fn $name($fixture: $($kind)+) $body

        mod $name {
            use super::*;

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::database::on_both!(@run $name, Sqlite, $($kind)+);
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::database::on_both!(@run $name, Postgres, $($kind)+);
            }
        }
    )+};
    (@run $name:ident, $on:ident, &$kind:ty) => {
        if let Some(fixture) = <$kind as $crate::database::Fixture>::set_up($crate::database::On::$on).await {
            super::$name(&fixture).await;
            $crate::database::Fixture::tear_down(fixture).await;
        }
    };
    (@run $name:ident, $on:ident, $kind:ty) => {
        if let Some(fixture) = <$kind as $crate::database::Fixture>::set_up($crate::database::On::$on).await {
            super::$name(fixture).await;
        }
    };
}
pub(crate) use on_both;

/// An open database that nobody else uses.
pub struct TestDatabase {
    pub db: Db,
    pub url: String,
    _folder: TempDir,
}

impl TestDatabase {
    /// Nothing in it, not even tables. None where PostgreSQL is left out.
    pub async fn bare(on: On) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match on {
            On::Sqlite => sqlite_url(&folder),
            On::Postgres => postgres::fresh_database().await?,
        };
        let db = Db::open(&url, 12, true).await.expect("database");
        Some(Self { db, url, _folder: folder })
    }

    /// With all tables. None where PostgreSQL is left out.
    pub async fn migrated(on: On) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let url = match on {
            On::Sqlite => {
                fs::copy(sqlite_template().await, folder.path().join(SQLITE_FILE)).expect("a copy of the template");
                sqlite_url(&folder)
            }
            On::Postgres => postgres::migrated_database().await?,
        };
        Some(Self { db: open(&url, 12).await, url, _folder: folder })
    }

    /// As another daemon would open it.
    pub async fn open_again(&self) -> Db {
        open(&self.url, 12).await
    }
}

impl Fixture for TestDatabase {
    async fn set_up(on: On) -> Option<Self> {
        Self::migrated(on).await
    }
}

/// Does not wait for the disk, since this process is never killed. Programs that are killed are processes of their own, and open the
/// database as in production.
async fn open(url: &str, connections: u32) -> Db {
    let opened = match url.strip_prefix("sqlite://") {
        Some(file) => Db::scratch(Path::new(file)).await,
        None => Db::open(url, connections, false).await,
    };
    opened.expect("database")
}

const SQLITE_FILE: &str = "rebilld.db";

fn sqlite_url(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join(SQLITE_FILE).display())
}

/// Changes with any of the migrations.
pub fn migrations_digest() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| {
        let mut files = Vec::new();
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).expect("the migrations").map(|entry| entry.expect("an entry").path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push((fs::read(&path).expect("a migration"), path));
                }
            }
        }
        files.sort();
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    });
    &DIGEST
}

/// The file that is copied. Several may make it at the same moment: each moves a whole one to its place.
async fn sqlite_template() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let template = tmp.join(format!("template-{}.db", migrations_digest()));
    if !template.exists() {
        let folder = tempfile::tempdir_in(tmp).expect("a folder");
        let file = folder.path().join(SQLITE_FILE);
        let db = Db::scratch(&file).await.expect("a template");
        db.close().await;
        fs::rename(file, &template).expect("in its place");
    }
    template
}
