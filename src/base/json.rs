//! JSON values by their text in the code.

use serde::Serialize;
use serde_json::{Map, Value};

/// As `serde_json::json!`, with the same words. That one writes 150 bytes of code for each member; this one calls two functions.
macro_rules! json {
    (@members $object:ident) => {};
    (@members $object:ident $name:tt : null $(, $($rest:tt)*)?) => {
        $crate::base::json::put(&mut $object, ::core::convert::AsRef::<str>::as_ref(&$name), ::serde_json::Value::Null);
        $($crate::base::json::json!(@members $object $($rest)*);)?
    };
    (@members $object:ident $name:tt : [ $($value:tt)* ] $(, $($rest:tt)*)?) => {
        let value = $crate::base::json::json!([ $($value)* ]);
        $crate::base::json::put(&mut $object, ::core::convert::AsRef::<str>::as_ref(&$name), value);
        $($crate::base::json::json!(@members $object $($rest)*);)?
    };
    (@members $object:ident $name:tt : { $($value:tt)* } $(, $($rest:tt)*)?) => {
        let value = $crate::base::json::json!({ $($value)* });
        $crate::base::json::put(&mut $object, ::core::convert::AsRef::<str>::as_ref(&$name), value);
        $($crate::base::json::json!(@members $object $($rest)*);)?
    };
    (@members $object:ident $name:tt : $value:expr $(, $($rest:tt)*)?) => {
        let value = $crate::base::json::of(&$value);
        $crate::base::json::put(&mut $object, ::core::convert::AsRef::<str>::as_ref(&$name), value);
        $($crate::base::json::json!(@members $object $($rest)*);)?
    };
    (@elements $list:ident) => {};
    (@elements $list:ident null $(, $($rest:tt)*)?) => {
        $crate::base::json::add(&mut $list, ::serde_json::Value::Null);
        $($crate::base::json::json!(@elements $list $($rest)*);)?
    };
    (@elements $list:ident [ $($value:tt)* ] $(, $($rest:tt)*)?) => {
        $crate::base::json::add(&mut $list, $crate::base::json::json!([ $($value)* ]));
        $($crate::base::json::json!(@elements $list $($rest)*);)?
    };
    (@elements $list:ident { $($value:tt)* } $(, $($rest:tt)*)?) => {
        $crate::base::json::add(&mut $list, $crate::base::json::json!({ $($value)* }));
        $($crate::base::json::json!(@elements $list $($rest)*);)?
    };
    (@elements $list:ident $value:expr $(, $($rest:tt)*)?) => {
        $crate::base::json::add(&mut $list, $crate::base::json::of(&$value));
        $($crate::base::json::json!(@elements $list $($rest)*);)?
    };
    (null) => { ::serde_json::Value::Null };
    ([]) => { ::serde_json::Value::Array(::std::vec::Vec::new()) };
    ([ $($value:tt)+ ]) => {{
        let mut list = ::std::vec::Vec::new();
        $crate::base::json::json!(@elements list $($value)+);
        ::serde_json::Value::Array(list)
    }};
    ({}) => { ::serde_json::Value::Object(::serde_json::Map::new()) };
    ({ $($members:tt)+ }) => {{
        let mut object = ::serde_json::Map::new();
        $crate::base::json::json!(@members object $($members)+);
        ::serde_json::Value::Object(object)
    }};
    ($value:expr) => { $crate::base::json::of(&$value) };
}
pub(crate) use json;

/// Our own types serialize without fail; `null` stands in for the impossible instead of a panic.
#[inline(never)]
pub fn of<T: Serialize + ?Sized>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

#[inline(never)]
pub fn add(list: &mut Vec<Value>, value: Value) {
    list.push(value);
}

#[inline(never)]
pub fn put(object: &mut Map<String, Value>, name: &str, value: Value) {
    object.insert(name.to_owned(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_serde_json() {
        let (name, list, none) = ("a".to_owned(), vec![1, 2], None::<u64>);
        assert_eq!(
            json!({ "null": null, (name.as_str()): [null, [], {}, list, 1.5,], "o": { "deep": { "n": none }, "list": [[1], { "x": "y" }] }, "sum": 1 + 2, "end": list.len(), }),
            serde_json::json!({ "null": null, (name.as_str()): [null, [], {}, list, 1.5], "o": { "deep": { "n": none }, "list": [[1], { "x": "y" }] }, "sum": 1 + 2, "end": list.len() })
        );
        assert_eq!(json!([1, "b", null, { "c": f64::NAN }]), serde_json::json!([1, "b", null, { "c": f64::NAN }]));
        assert_eq!((json!(null), json!([]), json!({})), (Value::Null, serde_json::json!([]), serde_json::json!({})));
        assert_eq!((json!(name), json!(true), json!(-1)), (serde_json::json!("a"), true.into(), (-1).into()));
    }
}
