//! A table of texts, for the terminal and for a page in Markdown.

use std::iter;

/// A table. Each row has as many cells as the head.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new(title: &str, head: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()],
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it: the first column to the left, the others to the right.
    pub(crate) fn print(&self) {
        println!("\n{}", self.title);
        for row in &self.rows {
            let cells = row.iter().zip(self.widths()).enumerate();
            let cells = cells.map(|(index, (cell, width))| match index {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("  {}", cells.collect::<Vec<_>>().join("  "));
        }
    }

    /// The same in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |row: &Vec<String>| format!("| {} |\n", row.join(" | "));
        let columns = self.rows[0].len();
        let rule: String = iter::once("|---|")
            .chain(iter::repeat_n("---:|", columns - 1))
            .collect();
        let mut lines = self.rows.iter().map(line);
        let head = lines.next().unwrap_or_default();
        let rows: String = lines.collect();
        format!("### {}\n\n{head}{rule}\n{rows}", self.title)
    }

    fn widths(&self) -> impl Iterator<Item = usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(move |row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.rows[0].len()).map(width)
    }
}
