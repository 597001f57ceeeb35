//! What ships in `config/`.

use holdpoint_config::{check, schemas};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
}

fn env() -> BTreeMap<String, String> {
    let pairs = [
        ("STACKSONA_GATE_URL", "https://gate.example.com"),
        ("STACKSONA_API_KEY", "sg_test"),
        ("PAYMENTS_TOKEN", "test"),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_shipped_configuration_is_clean_and_its_cases_hold() {
    let report = check(&config(), &env());
    assert!(report.is_clean(), "{report}");
    assert!(report.cases.len() >= 18, "{report}");
}

#[test]
fn each_tools_file_can_be_checked_by_itself() {
    for (file, cases) in [("tools/payments.yaml", 9), ("tools/files.yaml", 9), ("tools/files.cases.yaml", 9)]
    {
        let report = check(&config().join(file), &BTreeMap::new());
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.cases.len(), cases, "{file}");
    }
}

/// To renew them: `HOLDPOINT_WRITE_SCHEMAS=1 cargo nextest run -p holdpoint-config schemas`.
#[test]
fn the_published_schemas_are_current() {
    for (name, text) in schemas() {
        let path = config().join("schema").join(name);
        if std::env::var_os("HOLDPOINT_WRITE_SCHEMAS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(published, text, "config/schema/{name} is out of date");
    }
}

/// The first line of each file names its schema, for editors; what an editor would say of the file is nothing.
#[test]
fn each_shipped_file_fits_the_schema_that_it_names() {
    let files = [
        "holdpoint.yaml",
        "gate.yaml",
        "tools/payments.yaml",
        "tools/payments.cases.yaml",
        "tools/files.yaml",
        "tools/files.cases.yaml",
    ];
    for name in files {
        let path = config().join(name);
        let text = fs::read_to_string(&path).unwrap();
        let schema = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
        let schema = fs::read_to_string(path.with_file_name(schema)).unwrap();
        let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let mut wrong = value;
        wrong["not_a_field"] = true.into();
        assert!(!validator.is_valid(&wrong), "{name}: the schema allows anything");
    }
}
