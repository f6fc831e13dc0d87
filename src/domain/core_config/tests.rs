//! What is merged into what: by tables, and by properties over configurations of many shapes.

mod choice;
mod hostile;
mod merge;
