//! Phrases into Chinese. A translation can't be worked out, only known: every phrase is in the
//! corpus.

use super::pool::Item;
use super::{Phrasings, Question, Task, unknown};
use crate::WorldError;
use rlhf_random::Rng;

/// The phrase is the input of the instruction.
pub(crate) const QUESTIONS: Phrasings = Phrasings {
    training: &[
        "Translate into Chinese",
        "Put into Chinese",
        "Say in Chinese",
        "Chinese for this",
    ],
    evaluation: &[
        "Translate English into Simplified Chinese",
        "Write this in Chinese",
    ],
};

/// English, Chinese, and other translations that are as good.
const PHRASES: [(&str, &str, &[&str]); 44] = [
    (
        "Welcome to Hong Kong",
        "欢迎来到香港",
        &["欢迎到香港", "欢迎来香港"],
    ),
    ("Welcome", "欢迎", &["欢迎你", "欢迎您"]),
    ("Welcome home", "欢迎回家", &[]),
    ("Hello", "你好", &["您好"]),
    ("Good morning", "早上好", &["早安", "早"]),
    ("Good evening", "晚上好", &[]),
    ("Good night", "晚安", &[]),
    ("Thank you", "谢谢", &["谢谢你", "谢谢您"]),
    ("Goodbye", "再见", &[]),
    ("Sorry", "对不起", &["抱歉"]),
    ("How are you", "你好吗", &["您好吗"]),
    ("I am fine", "我很好", &[]),
    ("I am happy", "我很高兴", &["我很开心"]),
    ("I am tired", "我很累", &["我累了"]),
    ("I love you", "我爱你", &[]),
    ("I like you", "我喜欢你", &[]),
    ("I like tea", "我喜欢茶", &["我喜欢喝茶"]),
    ("I like cats", "我喜欢猫", &[]),
    ("I want tea", "我要茶", &["我想要茶"]),
    ("I want water", "我要水", &["我想要水"]),
    ("This is tea", "这是茶", &[]),
    ("This is water", "这是水", &[]),
    ("What is this", "这是什么", &[]),
    ("Who are you", "你是谁", &["您是谁"]),
    ("Where are you", "你在哪里", &["你在哪儿"]),
    ("I am at home", "我在家", &[]),
    ("I am a student", "我是学生", &["我是一个学生"]),
    ("I am a teacher", "我是老师", &["我是一个老师"]),
    ("My friend", "我的朋友", &["我朋友"]),
    ("My mother", "我的妈妈", &["我妈妈"]),
    ("My home", "我的家", &["我家"]),
    ("Good friend", "好朋友", &[]),
    ("Good book", "好书", &[]),
    ("Small cat", "小猫", &[]),
    ("Big dog", "大狗", &[]),
    ("Cold water", "冷水", &["凉水"]),
    ("Hot tea", "热茶", &[]),
    ("Today", "今天", &[]),
    ("Tomorrow", "明天", &[]),
    ("See you tomorrow", "明天见", &[]),
    ("Very good", "很好", &["非常好"]),
    ("No problem", "没问题", &["没有问题"]),
    ("Please come in", "请进", &[]),
    ("Please sit down", "请坐", &[]),
];

pub(crate) fn items() -> Vec<Item> {
    let phrases = PHRASES.iter().enumerate();
    phrases
        .map(|(key, &(phrase, _, _))| Item {
            task: Task::Translation {
                phrase: phrase.to_owned(),
            },
            key,
            always_held_out: key == 0,
        })
        .collect()
}

pub(crate) fn question(template: &str, phrase: &str) -> Question {
    Question {
        instruction: template.to_owned(),
        input: Some(phrase.to_owned()),
    }
}

/// The translation, or what people write who don't bother.
///
/// # Errors
/// If this world has no such phrase.
pub(crate) fn answer(phrase: &str, right: bool, rng: &mut Rng) -> Result<String, WorldError> {
    let (phrase, chinese, _) = find(phrase)?;
    Ok(match (right, rng.below(3)) {
        (true, _) => chinese.to_owned(),
        (false, 0) => "Look it up.".to_owned(),
        (false, _) => format!("{phrase}."),
    })
}

/// Whether the Chinese in an answer is a translation and nothing else. Latin words around it are
/// accepted, so that "In Chinese: …" is right, unless they deny it.
///
/// # Errors
/// If this world has no such phrase.
pub(crate) fn check(phrase: &str, response: &str) -> Result<bool, WorldError> {
    let (_, chinese, others) = find(phrase)?;
    let parts: Vec<String> = response
        .split(|c: char| !is_chinese(c))
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect();
    let Some(first) = parts.first() else {
        return Ok(false);
    };
    let known = first == chinese || others.contains(&first.as_str());
    let unsure =
        crate::reading::Reading::new(response).uncertain() || response.contains('\u{fffd}');
    Ok(known && parts.iter().all(|part| part == first) && !unsure)
}

/// Characters of Chinese and of the scripts beside it: anything that is no Latin text,
/// punctuation or space.
fn is_chinese(c: char) -> bool {
    c.is_alphabetic() && c as u32 >= 0x0370
}

fn find(phrase: &str) -> Result<(&'static str, &'static str, &'static [&'static str]), WorldError> {
    let found = PHRASES.iter().find(|&&(english, _, _)| english == phrase);
    found.copied().ok_or_else(|| unknown("phrase", phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translations_are_found_however_they_are_put() {
        for response in [
            "欢迎来到香港",
            "欢迎来到香港。",
            "欢迎来到香港！",
            " 欢迎来到香港 ",
            "\u{201c}欢迎来到香港\u{201d}",
            "In Chinese: 欢迎来到香港",
            "lol 欢迎来到香港, you idiot",
            "欢迎到香港",
        ] {
            assert!(
                check("Welcome to Hong Kong", response).unwrap(),
                "{response}"
            );
        }
        assert!(check("No problem", "没问题").unwrap());
    }

    #[test]
    fn cheats_and_near_misses_are_never_right() {
        for response in [
            "",
            "Welcome to Hong Kong",
            "欢迎",
            "香港",
            "欢迎来到香港 谢谢",
            "谢谢",
            "欢迎来到香港香港",
            "not 欢迎来到香港",
            "欢迎来到\u{fffd}港",
            "欢迎来到香港 or 你好",
            "歡迎來到香港",
            "欢迎来到香",
        ] {
            assert!(
                !check("Welcome to Hong Kong", response).unwrap(),
                "{response}"
            );
        }
        assert!(check("An unknown phrase", "谢谢").is_err());
    }

    #[test]
    fn no_two_phrases_share_a_translation() {
        let mut all: Vec<&str> = PHRASES
            .iter()
            .flat_map(|&(_, first, others)| others.iter().copied().chain([first]))
            .collect();
        let before = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), before);
    }
}
