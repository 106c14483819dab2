//! One page of any table: newest first, by id. A cursor is an id, so a page costs the same however deep it lies.

use super::{
    Db, Result,
    db::{Record, Row, Sql},
};

/// Where a page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cursor {
    #[default]
    Newest,
    /// Rows older than this id.
    Before(String),
    /// Rows newer than this id, beginning with the next.
    After(String),
}

/// Asks for rows whose text columns have these values.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub filters: Vec<(&'static str, String)>,
    pub cursor: Cursor,
    pub limit: i64,
}

/// Rows newest first, and whether there are more in the direction of the cursor.
#[derive(Debug, Clone)]
pub struct PageRows<T> {
    pub rows: Vec<T>,
    pub has_more: bool,
}

pub async fn list<T: Row + Record>(db: &Db, request: Request) -> Result<PageRows<T>> {
    let forward = matches!(request.cursor, Cursor::After(_));
    let mut query = db.query(statement::<T>(&request));
    for (_, value) in request.filters {
        query = query.bind(value);
    }
    if let Cursor::Before(id) | Cursor::After(id) = request.cursor {
        query = query.bind(id);
    }
    // One row more than asked for shows whether there are more.
    let mut rows: Vec<T> = query.bind(request.limit + 1).all().await?;
    let limit = usize::try_from(request.limit).unwrap_or(0);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    if forward {
        rows.reverse();
    }
    Ok(PageRows { rows, has_more })
}

/// The text that [`list`] runs.
pub fn statement<T: Row>(request: &Request) -> Sql {
    let mut conditions = Vec::new();
    for (i, (column, _)) in request.filters.iter().enumerate() {
        assert!(T::columns().contains(column), "{} has no column {column}", T::TABLE);
        let parameter = i + 1;
        // The database folds both sides: SQLite knows the case of ASCII letters alone.
        conditions.push(if T::CASELESS.contains(column) {
            format!("lower({column}) = lower(${parameter})")
        } else {
            format!("{column} = ${parameter}")
        });
    }
    let mut parameters = request.filters.len();
    let order = match request.cursor {
        Cursor::Newest => "desc",
        Cursor::Before(_) | Cursor::After(_) => {
            parameters += 1;
            let older = matches!(request.cursor, Cursor::Before(_));
            conditions.push(format!("id {} ${parameters}", if older { '<' } else { '>' }));
            if older { "desc" } else { "asc" }
        }
    };
    let filter = if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) };
    Sql::Composed(format!("select * from {}{filter} order by id {order} limit ${}", T::TABLE, parameters + 1).into())
}
