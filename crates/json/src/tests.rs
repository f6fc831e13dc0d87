use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::json;

use super::*;

const SOME: Keep = Keep::Fields(&[
    ("a", Keep::All),
    ("b", Keep::Each(&Keep::Fields(&[("c", Keep::All)]))),
]);

#[test]
fn what_is_not_named_is_left_out_and_the_rest_stands_as_it_was() {
    for (whole, kept) in [
        (
            json!({"a": {"x": [1, -1, 1.5, null]}, "z": 1}),
            json!({"a": {"x": [1, -1, 1.5, null]}}),
        ),
        (
            json!({"b": [{"c": 1, "d": 2}, {"d": 2}, "text", null]}),
            json!({"b": [{"c": 1}, {}, "text", null]}),
        ),
        (
            json!({"b": {"d": [{"e": 1}]}}),
            json!({"b": {"d": [{"e": 1}]}}),
        ),
        (json!([{"z": 1}]), json!([{"z": 1}])),
        (json!(true), json!(true)),
        (json!("text\n"), json!("text\n")),
    ] {
        assert_eq!(Value::from(SOME.read(&whole.to_string()).unwrap()), kept);
    }
}

#[test]
fn of_a_name_that_occurs_twice_the_later_value_counts() {
    let read = Keep::All.read(r#"{"b": 1, "a": 1, "b": 2, "a": 3, "b": 4}"#);
    assert_eq!(Value::from(read.unwrap()), json!({"a": 3, "b": 4}));
}

#[test]
fn text_is_borrowed_where_nothing_is_escaped_in_it() {
    let read = Keep::All.read(r#"{"a": "b", "\u0063": "\n"}"#).unwrap();
    let Json::Object(Fields(fields)) = read else {
        panic!("no object");
    };
    let is_borrowed = |text: &Cow<'_, str>| matches!(text, Cow::Borrowed(_));
    let borrowed: Vec<(bool, bool)> = fields
        .iter()
        .map(|(name, value)| {
            let Json::Text(text) = value else {
                panic!("no text");
            };
            (is_borrowed(name), is_borrowed(text))
        })
        .collect();
    assert_eq!(borrowed, [(true, true), (false, false)]);
}

/// Any tree, with names that sort in other ways than they come.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Quarters: of more digits the parser may lose the last one.
        any::<i32>().prop_map(|it| Value::from(f64::from(it) / 4.0)),
        "[a-c\"\\\\\né]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-c\"~é]{0,2}", inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_no_json_is_an_error(text in "[\\[\\]{}:,\"ab1. ]{0,20}") {
        let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
        prop_assert_eq!(SOME.read(&text).is_ok(), is_json);
        prop_assert_eq!(Keep::All.read(&text).is_ok(), is_json);
    }

    #[test]
    fn it_is_the_same_tree_by_whatever_way(value in any_json(), other in any_json()) {
        let text = value.to_string();
        let json = Keep::All.read(&text).unwrap();
        prop_assert_eq!(&json, &Json::from(&value));
        prop_assert_eq!(&json, &serde_json::from_str::<Json<'_>>(&text).unwrap());
        prop_assert_eq!(&serde_json::to_string(&json).unwrap(), &text);
        prop_assert_eq!(json == Json::from(&other), value == other);
        prop_assert_eq!(&json.clone().into_owned(), &json);
        prop_assert_eq!(Value::from(json), value);
    }

    #[test]
    fn fields_are_set_and_removed_by_name(
        before in prop::collection::btree_map("[a-d]{1,2}", any::<bool>(), 0..6), name in "[a-d]{1,2}",
    ) {
        let named = |fields: &std::collections::BTreeMap<String, bool>| -> Fields<'static> {
            fields.iter().rev().map(|(name, it)| (name.clone(), Json::Bool(*it))).collect()
        };
        let mut fields = named(&before);
        let mut after = before;
        fields.set(name.clone(), true);
        after.insert(name.clone(), true);
        prop_assert_eq!(&fields, &named(&after));
        prop_assert_eq!(fields.get(&name), Some(&Json::Bool(true)));
        fields.remove(&name);
        after.remove(&name);
        prop_assert_eq!(fields.get(&name), None);
        prop_assert_eq!(fields, named(&after));
    }
}

#[test]
fn a_list_is_no_review() {
    let whole = br#"{"request": {"uid": "u", "resource": {"group": "apps", "resource": "statefulsets"}, "operation": "CREATE"}}"#;
    assert!(review::RequestIn::read(whole, &Keep::All).is_ok());
    assert_eq!(review::uid(whole).as_deref(), Some("u"));
    assert_eq!(
        review::uid(br#"{"request": {"uid": "u", "resource": []}}"#).as_deref(),
        Some("u")
    );
    for list in [
        &br#"[["u"]]"#[..],
        br#"[{"uid": "u"}]"#,
        br#"{"request": ["u"]}"#,
    ] {
        assert!(review::RequestIn::read(list, &Keep::All).is_err());
        assert_eq!(review::uid(list), None);
    }
}

#[test]
fn an_object_is_the_same_whether_it_is_read_at_once_or_as_bytes() {
    let object = r#""object": {"metadata": {"name": "v", "uid": "u", "labels": {"a": "b"}, "annotations": {}},
        "spec": {"template": {"x": [1, {"y": "z"}]}}}"#;
    let create = r#""operation": "CREATE""#;
    let resource = r#""resource": {"group": "apps", "resource": "statefulsets"}"#;
    let bodies = [[create, object], [object, create]].map(|[first, then]| {
        format!(r#"{{"request": {{"uid": "u", {resource}, {first}, {then}, "oldObject": null}}}}"#)
    });
    let kept = Keep::Fields(&[
        (
            "metadata",
            Keep::Fields(&[
                ("name", Keep::All),
                ("labels", Keep::All),
                ("annotations", Keep::All),
            ]),
        ),
        ("spec", Keep::All),
    ]);
    let [at_once, as_bytes] = bodies.each_ref().map(|body| {
        let request = review::RequestIn::read(body.as_bytes(), &kept).unwrap();
        assert!(request.old_object.is_none());
        let object = request.object.unwrap();
        assert_eq!(object.name().as_deref(), Some("v"));
        object.read().unwrap().into_owned()
    });
    assert_eq!(at_once, as_bytes);
}
