//! Questions on answers, and their texts.

use super::*;
use proptest::prelude::*;
use smoothgate_providers::Label;

#[test]
fn the_highest_score_wins_wherever_it_stands() {
    let answer = Answer::of([("Cat", 0.2), ("Dog", 0.9), ("Bird", 0.5)]);
    assert_eq!(Question::Top1.vote(&answer), Some("Dog"));
}

#[test]
fn ties_do_not_depend_on_the_order_of_the_answer() {
    let tied = [("Vulture", 0.996), ("Bird", 0.996), ("animal", 0.996), ("Wing", 0.5)];
    let forward = Answer::of(tied);
    let backward = Answer::of(tied.into_iter().rev());
    assert_eq!(Question::Top1.vote(&forward), Some("animal"));
    assert_eq!(Question::Top1.vote(&backward), Some("animal"));
}

#[test]
fn labels_without_scores_keep_their_order_and_come_last() {
    let bare = |name: &str| Label { name: name.into(), score: None, id: None };
    let unscored = Answer { labels: vec![bare("b"), bare("a")], ..Answer::default() };
    assert_eq!(Question::Top1.vote(&unscored), Some("b"));
    let mixed = Answer { labels: vec![bare("b"), Label::new("z", 0.01)], ..Answer::default() };
    assert_eq!(Question::Top1.vote(&mixed), Some("z"));
    let nan = Answer::of([("n", f64::NAN), ("x", 0.1)]);
    assert_eq!(Question::Top1.vote(&nan), Some("x"));
}

#[test]
fn contract_03_an_empty_answer_votes_for_no_label() {
    assert_eq!(Question::Top1.vote(&Answer::default()), None);
}

#[test]
fn case_and_composition_do_not_split_a_label() {
    for (a, b) in [("Dog", "DOG"), ("Café", "cafe\u{301}"), ("Straße", "STRASSE"), ("ΣΊΣΥΦΟΣ", "σίσυφος")]
    {
        assert_eq!(normalise(a), normalise(b), "{a} {b}");
    }
    assert_ne!(normalise("dog"), normalise("dogs"));
    let mut classes = Classes::default();
    assert_eq!((classes.class("Dog"), classes.class("Cat"), classes.class("dog")), (0, 1, 0));
    assert_eq!(classes.spelling(0), Some("Dog"));
}

/// A list of labels that was cut into lines at `\n` alone leaves a carriage return in each.
#[test]
fn white_space_around_a_name_makes_no_other_label_of_it() {
    let answer = Answer::of([(" dog\r", 0.9)]);
    for asked in ["clean-top", "clean-labels", "clean-labels/sequence>=0.5"] {
        let about = question(asked).about_clean(&answer);
        let votes: Vec<_> = about.iter().map(|about| about.vote(&answer)).collect();
        assert_eq!(votes, [Some("dog")], "{asked}");
    }
    assert_eq!(question("present:dog").vote(&answer), Some("dog"));
    assert_eq!(question("absent:dog").vote(&answer), None);
    let map = ClassMap::new("m", [("dog", "pet")]).unwrap();
    assert_eq!(Question::Map(map).vote(&answer), Some("pet"));
    let mut classes = Classes::default();
    assert_eq!((classes.class("Dog"), classes.class(" dog\r")), (0, 0));
}

#[test]
fn clean_top_becomes_a_question_about_the_top_label_of_the_clean_answer() {
    let asked: Question = "clean-top".parse().unwrap();
    assert!(asked.asks_clean() && asked.fixed_label().is_none());
    assert_eq!((asked.label_rule(), asked.to_string().as_str()), (LabelRule::Fixed, "clean-top"));
    // Of equal scores the first that the API named; a name that no question can write is no label to ask about.
    let clean = Answer::of([("Cat", 0.2), ("Dog", 0.9), ("Animal", 0.9)]);
    let about = asked.about_clean(&clean).remove(0);
    assert_eq!((about.to_string().as_str(), about.fixed_label()), ("clean-top:Dog", Some("Dog")));
    assert_eq!((about.label_rule(), about.asked()), (LabelRule::Fixed, asked.clone()));
    assert_eq!(about.vote(&Answer::of([("ANIMAL", 0.9), ("DOG", 0.1)])), Some("Dog"));
    assert_eq!(about.vote(&Answer::of([("animal", 0.9)])), None);
    assert_eq!(asked.about_clean(&Answer::default()), []);
    assert_eq!(asked.about_clean(&Answer::of([("a>=b", 0.9)])), []);
    assert_eq!(Question::Top1.about_clean(&clean), [Question::Top1]);
    // Documents hold the label, and a command line cannot choose it.
    let written = serde_json::to_string(&about).unwrap();
    assert_eq!(serde_json::from_str::<Question>(&written).unwrap(), about);
    assert!(matches!(Question::load("clean-top:Dog"), Err(QuestionError::Unknown(_))));
    assert_eq!(Question::load("clean-top").unwrap(), asked);
}

#[test]
fn clean_labels_becomes_a_question_about_each_label_of_the_clean_answer() {
    let asked: Question = "clean-labels".parse().unwrap();
    assert!(asked.asks_clean() && asked.fixed_label().is_none());
    assert_eq!((asked.most_claims(), asked.sharing()), (20, Sharing::Even));
    let bare = |name: &str| Label { name: name.into(), score: None, id: None };
    let mut clean =
        Answer::of([("low", 0.1), ("Cat", 0.9), ("animal", 0.9), ("CAT", 0.2), ("nan", f64::NAN)]);
    clean.labels.extend([bare("z"), bare("y"), bare("a>=b")]);
    let texts = |asked: &Question| -> Vec<String> {
        asked.about_clean(&clean).iter().map(Question::to_string).collect()
    };
    // Highest score first, ties by name, those without a score last as the API named them; each once.
    let all = ["animal", "Cat", "low", "nan", "z", "y"].map(|label| format!("clean-labels/even/20:{label}"));
    assert_eq!(texts(&asked), all);
    let two: Question = "clean-labels/2/sequence>=0.1".parse().unwrap();
    assert_eq!(two.to_string(), "clean-labels/sequence/2>=0.1");
    let of_two = ["clean-labels/sequence/2:animal>=0.1", "clean-labels/sequence/2:Cat>=0.1"];
    assert_eq!(texts(&two), of_two);
    assert_eq!(asked.about_clean(&Answer::default()), []);
    // Documents hold the label, and read back as themselves; a command line cannot choose it.
    for about in asked.about_clean(&clean).into_iter().chain(two.about_clean(&clean)) {
        assert_eq!(about.to_string().parse::<Question>().unwrap(), about);
        assert!(matches!(Question::load(&about.to_string()), Err(QuestionError::Unknown(_))));
        assert_eq!((about.label_rule(), about.fixed_label().is_some()), (LabelRule::Fixed, true));
    }
    let dog = &two.about_clean(&Answer::of([("dog: a>b", 0.9)]))[0];
    assert_eq!(dog.vote(&Answer::of([("DOG: a>b", 0.1)])), Some("dog: a>b"));
    assert_eq!(dog.vote(&Answer::of([("dog: a>b", 0.05)])), None);
    assert_eq!(dog.to_string().parse::<Question>().unwrap(), *dog);
    for good in ["clean-labels", "clean-labels/sequence", "clean-labels/5", "clean-labels>=0.5"] {
        assert_eq!(Question::load(good).unwrap().to_string(), good);
    }
    assert_eq!(Question::load("clean-labels/even/20").unwrap(), asked);
}

#[test]
fn options_of_clean_labels_that_are_none_are_refused_by_name() {
    for bad in [
        "clean-labels/0",
        "clean-labels/101",
        "clean-labels/holm",
        "clean-labelsX",
        "clean-labels/2/3",
        "clean-labels/",
    ] {
        let error = bad.parse::<Question>().unwrap_err();
        assert!(matches!(error, QuestionError::CleanLabels(_)), "{bad}: {error}");
        assert!(error.to_string().contains(bad), "{error}");
    }
    assert!(matches!("clean-labels>=2".parse::<Question>(), Err(QuestionError::Score(_))));
    assert!(matches!("clean-labels:".parse::<Question>(), Err(QuestionError::Name { .. })));
}

#[test]
fn topk_votes_as_top1_and_claims_less() {
    let asked: Question = "topk:3".parse().unwrap();
    assert_eq!((asked.to_string().as_str(), asked.topk()), ("topk:3", Some(3)));
    assert_eq!(asked.label_rule(), LabelRule::Leader);
    let answer = Answer::of([("Cat", 0.2), ("Dog", 0.9)]);
    assert_eq!(asked.vote(&answer), Question::Top1.vote(&answer));
    assert_eq!(asked.claim("Dog"), "has \"Dog\" among its 3 most likely answers");
    let topk = |k| Method::Topk { k, n0: 5, n: 20 };
    assert!(asked.suits(&topk(3)) && !asked.suits(&topk(2)) && !asked.suits(&Method::Cohen { n0: 5, n: 20 }));
    assert!(!Question::Top1.suits(&topk(3)) && Question::Top1.suits(&Method::Predict { n: 5 }));
    for bad in ["topk:0", "topk:", "topk:x", "topk:101", "topk:-1"] {
        assert!(matches!(bad.parse::<Question>(), Err(QuestionError::K(_))), "{bad}");
    }
}

#[test]
fn unknown_questions_are_refused_by_name() {
    assert!("top5".parse::<Question>().unwrap_err().to_string().contains("top5"));
    assert_eq!("top1".parse::<Question>().unwrap().to_string(), "top1");
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(name in "(\\PC|\\s){0,12}") {
        let once = normalise(&name).into_owned();
        prop_assert_eq!(normalise(&once).into_owned(), once);
    }
}

fn question(text: &str) -> Question {
    text.parse().unwrap()
}

#[test]
fn present_counts_the_label_wherever_it_stands() {
    let answer = Answer::of([("Dog", 0.4), ("Animal", 0.9)]);
    assert_eq!(question("present:dog").vote(&answer), Some("dog"));
    assert_eq!(question("present:DOG>=0.4").vote(&answer), Some("DOG"));
    assert_eq!(question("present:dog>=0.41").vote(&answer), None);
    assert_eq!(question("present:cat").vote(&answer), None);
    assert_eq!(question("present:dog").vote(&Answer::default()), None);
    let twice = Answer::of([("dog", 0.1), ("Dog", 0.8)]);
    assert_eq!(question("present:dog>=0.5").vote(&twice), Some("dog"), "any mention that reaches the score");
}

#[test]
fn a_label_without_a_score_is_present_but_reaches_no_score() {
    let bare =
        Answer { labels: vec![Label { name: "dog".into(), score: None, id: None }], ..Answer::default() };
    assert_eq!(question("present:dog").vote(&bare), Some("dog"));
    assert_eq!(question("present:dog>=0").vote(&bare), None);
    assert_eq!(question("present:dog>=0").vote(&Answer::of([("dog", f64::NAN)])), None);
    assert_eq!(question("present:dog>=0").vote(&Answer::of([("dog", 0.0)])), Some("dog"));
}

#[test]
fn level_counts_from_the_named_step_on() {
    let rated = |level| Answer { levels: [("Adult".to_owned(), level)].into(), ..Answer::default() };
    let likely = question("level:adult>=LIKELY");
    for (level, vote) in [
        (Likelihood::Unknown, None),
        (Likelihood::VeryUnlikely, None),
        (Likelihood::Possible, None),
        (Likelihood::Likely, Some("adult>=LIKELY")),
        (Likelihood::VeryLikely, Some("adult>=LIKELY")),
    ] {
        assert_eq!(likely.vote(&rated(level)), vote, "{level:?}");
    }
    assert_eq!(likely.vote(&Answer::of([("adult", 1.0)])), None, "a label is not a category");
    assert_eq!(question("level:violence>=LIKELY").vote(&rated(Likelihood::VeryLikely)), None);
    assert_eq!(question("level:adult>=VERY_UNLIKELY").vote(&rated(Likelihood::Unknown)), None);
}

const MAP: &str = "dog = [\"Dog\", \"puppy\", \"Hound\"]\ncat = [\"Cat\"]\n\"\" = [\"Animal\"]\n";

#[test]
fn a_map_votes_for_the_class_of_the_best_label_that_has_one() {
    let map = ClassMap::from_toml("m.toml", MAP).unwrap();
    let ask = |answer: &Answer| Question::Map(map.clone()).vote(answer).map(str::to_owned);
    assert_eq!(ask(&Answer::of([("Animal", 0.99), ("PUPPY", 0.7), ("Cat", 0.6)])).as_deref(), Some("dog"));
    assert_eq!(ask(&Answer::of([("PUPPY", 0.5), ("Cat", 0.6), ("Animal", 0.7)])).as_deref(), Some("cat"));
    // A tie goes to the label that is first by name, whatever the order of the answer and the names of the classes.
    assert_eq!(ask(&Answer::of([("puppy", 0.6), ("cat", 0.6)])).as_deref(), Some("cat"));
    assert_eq!(ask(&Answer::of([("cat", 0.6), ("puppy", 0.6)])).as_deref(), Some("cat"));
    assert_eq!(ask(&Answer::of([("Animal", 0.9), ("Fish", 0.8)])), None);
    assert_eq!(ask(&Answer::default()), None);
}

#[test]
fn a_map_reports_the_labels_it_does_not_know() {
    let map = ClassMap::from_toml("m.toml", MAP).unwrap();
    assert_eq!(map.unmapped(["dog", "Fish", "Animal", "fish", "Tree"]), ["Fish", "Tree"]);
    assert_eq!((map.class("hound"), map.class("animal"), map.knows("ANIMAL")), (Some("dog"), None, true));
}

#[test]
fn both_formats_of_a_map_mean_the_same() {
    let tsv = "# label\tclass\nDog\tdog\npuppy\tdog\n\nHound\tdog\ncat\tcat\nanimal\t\n";
    let (a, b) = (ClassMap::from_toml("m.toml", MAP).unwrap(), ClassMap::from_tsv("other.tsv", tsv).unwrap());
    assert_eq!(a, b);
    assert_ne!(a, ClassMap::new("m.toml", [("dog", "dog")]).unwrap());
}

#[test]
fn a_bad_map_is_refused_with_its_place() {
    let tsv = |text| ClassMap::from_tsv("m.tsv", text).unwrap_err().to_string();
    assert!(tsv("a\tb\nc\n").contains("line 2 has 1 columns"), "{}", tsv("a\tb\nc\n"));
    let both = tsv("Dog\tpet\ndog\tanimal\n");
    assert!(both.contains("`dog` into `pet` and into `animal`"), "{both}");
    assert!(tsv("a\tDog\nb\tdog\n").contains("two spellings"));
    assert!(tsv("\tdog\n").contains("empty label"));
    assert!(matches!(ClassMap::from_tsv("m", "# nothing\na\t\n"), Err(MapError::Empty(_))));
    let toml = ClassMap::from_toml("m.toml", "dog = [\"Dog\"]\ncat = [1]\n").unwrap_err().to_string();
    assert!(toml.contains("m.toml") && toml.contains("line 2"), "{toml}");
    let missing = Question::load("map:no-such-file.toml").unwrap_err().to_string();
    assert!(missing.contains("no-such-file.toml"), "{missing}");
}

#[test]
fn a_map_is_written_short_as_text_and_whole_in_documents() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pets.toml");
    std::fs::write(&file, MAP).unwrap();
    let loaded = Question::load(&format!("map:{}", file.display())).unwrap();
    // The text names the file and its content: the same file reads back, a changed one is refused.
    let text = loaded.to_string();
    assert_eq!(Question::load(&text).unwrap(), loaded);
    assert!(matches!(text.parse::<Question>(), Err(QuestionError::NotLoaded(_))));
    std::fs::write(&file, "dog = [\"Dog\"]").unwrap();
    assert!(matches!(Question::load(&text), Err(QuestionError::Map(MapError::Changed { .. }))));
    // The document needs no file.
    let document = serde_json::to_string(&loaded).unwrap();
    drop(dir);
    let read: Question = serde_json::from_str(&document).unwrap();
    assert_eq!((&read, read.to_string()), (&loaded, text));
    assert_eq!(serde_json::to_string(&read).unwrap(), document);
    assert!(serde_json::from_str::<Question>(r#"{"map":{"name":"m","classes":{}}}"#).is_err());
}

#[test]
fn bad_questions_say_what_is_wrong() {
    for (text, word) in [
        ("present:", "empty"),
        ("present:dog>=2", "0 to 1"),
        ("present:dog>=NaN", "0 to 1"),
        ("present:dog>=high", "`high`"),
        ("present:a>=0.1>=0.2", "`>=` begins a threshold"),
        ("absent:a\u{7}b", "control"),
        ("level:adult", "level:adult>=LIKELY"),
        ("level:adult>=MAYBE", "VERY_LIKELY"),
        ("level:adult>=UNKNOWN", "VERY_LIKELY"),
        ("top1:", "is not a question"),
        ("present", "is not a question"),
    ] {
        let error = text.parse::<Question>().unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn contract_05_only_labels_fixed_before_the_votes_are_free() {
    let map = Question::Map(ClassMap::from_toml("m.toml", MAP).unwrap());
    for chosen in [question("top1"), map] {
        assert_eq!((chosen.label_rule(), chosen.fixed_label()), (LabelRule::Leader, None), "{chosen}");
    }
    for (text, label) in [
        ("present:Dog>=0.5", "Dog"),
        ("absent:Dog", "absent:Dog"),
        ("absent:Dog>=0.5", "absent:Dog>=0.5"),
        ("level:adult>=likely", "adult>=LIKELY"),
    ] {
        let fixed = question(text);
        assert_eq!((fixed.label_rule(), fixed.fixed_label()), (LabelRule::Fixed, Some(label)));
        let (classes, class) = fixed.classes();
        assert_eq!((classes.spellings(), class), ([label.to_owned()].as_slice(), Some(0)));
    }
}

fn answers() -> impl Strategy<Value = Answer> {
    let label = (prop::sample::select(vec!["Dog", "dog", "Cat", "puppy", "Animal", "é", "E\u{301}"]), 0u8..5);
    prop::collection::vec(label, 0..6)
        .prop_map(|labels| Answer::of(labels.into_iter().map(|(name, score)| (name, f64::from(score) / 4.0))))
}

proptest! {
    /// Every question is its text and its document, and votes for one class at most where its label is fixed.
    #[test]
    fn questions_round_trip(label in "\\PC{1,12}", score in prop::option::of(0.0..=1.0f64), absent: bool) {
        let score = score.map(|score| Score::new(score).unwrap());
        let Ok(presence) = Presence::new(&label, score) else {
            prop_assert!(label.trim().is_empty() || label.contains(">="));
            return Ok(());
        };
        let asked = if absent { Question::Absent(presence) } else { Question::Present(presence) };
        prop_assert_eq!(&asked.to_string().parse::<Question>().unwrap(), &asked);
        let document = serde_json::to_string(&asked).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Question>(&document).unwrap(), &asked);
    }

    /// Absent is the complement of present on every answer, and both vote for nothing but their own label.
    #[test]
    fn absent_is_the_complement_of_present(answer in answers(), label in 0usize..3, score in 0u8..6) {
        let label = ["dog", "É", "puppy"][label];
        let what = if score == 5 { label.to_owned() } else { format!("{label}>={}", f64::from(score) / 4.0) };
        let (present, absent) = (question(&format!("present:{what}")), question(&format!("absent:{what}")));
        let (yes, no) = (present.vote(&answer), absent.vote(&answer));
        prop_assert_ne!(yes.is_some(), no.is_some());
        prop_assert!(yes.is_none_or(|vote| Some(vote) == present.fixed_label()));
        prop_assert!(no.is_none_or(|vote| Some(vote) == absent.fixed_label()));
    }

    /// No question but the unscored case depends on the order of an answer.
    #[test]
    fn the_order_of_scored_labels_does_not_matter(answer in answers(), seed: u64) {
        let mut shuffled = answer.clone();
        let mut state = seed;
        shuffled.labels.sort_by_key(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 33
        });
        let map = Question::Map(ClassMap::from_toml("m.toml", MAP).unwrap());
        for asked in [question("top1"), question("present:dog>=0.5"), map] {
            let (a, b) = (asked.vote(&answer).map(normalise), asked.vote(&shuffled).map(normalise));
            prop_assert_eq!(a, b, "{}", asked);
        }
    }
}
