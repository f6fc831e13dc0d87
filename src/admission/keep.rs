//! What admissions read of objects.

use crate::json::Keep;

/// What an injection reads of a container.
const CONTAINER: Keep = Keep::Fields(&[
    ("name", Keep::All),
    ("command", Keep::All),
    ("args", Keep::All),
    ("ports", Keep::All),
    ("resources", Keep::All),
    ("securityContext", Keep::All),
    ("volumeMounts", Keep::All),
]);

/// What an injection reads of a new pod template.
const NEW_TEMPLATE: Keep = Keep::Fields(&[
    (
        "metadata",
        Keep::Fields(&[("labels", Keep::All), ("annotations", Keep::All)]),
    ),
    (
        "spec",
        Keep::Fields(&[
            ("containers", Keep::Each(&CONTAINER)),
            ("initContainers", Keep::All),
            ("securityContext", Keep::All),
            ("volumes", Keep::All),
        ]),
    ),
]);

/// What an admission reads of an object that is made. The template of one that changes is read as a whole.
pub(super) const CREATED: Keep = Keep::Fields(&[
    (
        "metadata",
        Keep::Fields(&[
            ("name", Keep::All),
            ("uid", Keep::All),
            ("deletionTimestamp", Keep::All),
            ("labels", Keep::All),
            ("annotations", Keep::All),
        ]),
    ),
    (
        "spec",
        Keep::Fields(&[
            ("template", NEW_TEMPLATE),
            ("nodeType", Keep::All),
            ("validatorConfig", Keep::All),
        ]),
    ),
]);
