//! Private processes: who is masked, when, and who can be paid by the mask.

use super::*;
use crate::mask::MaskPair;

fn private(policy: Policy) -> Memo {
    memo(MemoKind::Register(Registration { private: true, policy, ..registration() }))
}

fn pair(process: &str, sender: &Mix) -> MaskPair {
    MaskPair { process: user(process), account: Account::of(sender) }
}

fn shown(byte: u8) -> Account {
    Account(B256::repeat_byte(byte))
}

/// A core with the private `p1`, whose registrant is shown as 0x11….
fn private_core() -> Core {
    let mut core = Core::new(config()).expect("a sound configuration");
    let output = Output { senders: Some(set(&["p1"], 1)), ..output(1) };
    core.mask(pair("p1", &set(&["p1"], 1)), shown(0x11));
    let applied = core.apply(&output, &private(Policy::Refund)).expect("applies");
    assert_eq!((applied[0].class, applied[0].posted[0].message.sender), (Class::Register, shown(0x11)));
    core
}

#[test]
fn a_private_process_should_see_masks_and_nothing_else() {
    let mut core = private_core();
    for (sequence, sender, byte) in [(2, set(&["u1"], 1), 0xa1), (3, set(&["u1", "u2"], 2), 0xa2)] {
        let paid = Output { senders: Some(sender.clone()), ..output(sequence) };
        assert_eq!(core.unmasked(&paid, &call()), Some(pair("p1", &sender)));
        core.mask(pair("p1", &sender), shown(byte));
        assert_eq!(core.unmasked(&paid, &call()), None);
        let applied = core.apply(&paid, &call()).expect("applies");
        assert_eq!(applied[0].posted[0].message.sender, shown(byte));
        assert_eq!(core.unmasked(&Output { sequence: 9, ..paid }, &call()), None, "once is enough");
    }
    let nobody = Output { senders: None, ..output(4) };
    assert_eq!(core.unmasked(&nobody, &call()), None);
    assert_eq!(core.apply(&nobody, &call()).expect("applies")[0].posted[0].message.sender, Account::ZERO);
}

#[test]
fn an_output_should_not_be_applied_without_its_mask() {
    let mut core = private_core();
    let error = DeriveError::Unmasked(pair("p1", &set(&["u1"], 1)));
    assert_eq!(core.apply(&output(2), &call()), Err(error.clone()));
    assert_eq!(core.halted(), Some(&error));
    assert_eq!(
        error.to_string(),
        format!("account 0x{}{} of private process {} has no mask", "0".repeat(32), user("u1").simple(), user("p1"))
    );
}

#[test]
fn what_becomes_no_message_should_need_no_mask() {
    let core = private_core();
    let u1 = pair("p1", &set(&["u1"], 1));
    assert_eq!(core.unmasked(&output(2), &call()), Some(u1));
    let none: [(&str, Output, Memo); 9] = [
        ("dust", Output { amount: amount(9), ..output(2) }, call()),
        ("internal", Output { spends: vec![output(1).coin], ..output(2) }, call()),
        ("collectible", Output { inscription: Some(B256::repeat_byte(1)), ..output(2) }, call()),
        ("from the group", Output { senders: Some(config().group), ..output(2) }, call()),
        ("late", Output { late: true, ..output(2) }, call()),
        ("a payload too long", output(2), memo(MemoKind::Call { process: user("p1"), payload: vec![0; 9] })),
        ("no such process", output(2), memo(MemoKind::Call { process: user("p2"), payload: vec![] })),
        ("refunded", output(2), memo(MemoKind::Undecodable)),
        ("registered already", Output { senders: Some(set(&["p1"], 1)), ..output(2) }, private(Policy::Park)),
    ];
    for (what, output, memo) in none {
        assert_eq!(core.unmasked(&output, &memo), None, "{what}");
    }
    let public = memo(MemoKind::Register(registration()));
    assert_eq!(Core::new(config()).expect("sound").unmasked(&output(1), &public), None);
}

#[test]
fn an_admitted_output_should_be_masked_before_its_decision_is_applied() {
    let mut core = private_core();
    let late = Output { late: true, ..output(2) };
    core.apply(&late, &call()).expect("set aside");
    let admit = decision(1, DecisionBody::Admit { output: late.id });
    let u1 = pair("p1", &set(&["u1"], 1));
    assert_eq!(core.unmasked(&output(3), &admit), Some(u1));
    core.mask(u1, shown(0xa1));
    assert_eq!(core.unmasked(&output(3), &admit), None);
    let applied = core.apply(&output(3), &admit).expect("applies");
    assert_eq!(applied[1].posted[0].message.sender, shown(0xa1));
    assert_eq!(core.unmasked(&output(4), &admit), None, "a number acts once");

    // Two that admit each other end.
    let [one, two] = [(5_u64, 6_u64), (6, 5)].map(|(own, other)| {
        let admits = decision(own, DecisionBody::Admit { output: Uuid::from_u128(other.into()) });
        (Output { late: true, ..output(own) }, admits)
    });
    core.apply(&one.0, &one.1).expect("set aside");
    core.apply(&two.0, &two.1).expect("set aside");
    assert_eq!(core.unmasked(&output(7), &decision(7, DecisionBody::Admit { output: one.0.id })), None);

    // What asks for nothing admits nobody, and the same number does not act twice on the way.
    let waits = Output { late: true, senders: Some(set(&["u2"], 1)), ..output(8) };
    let again = Output { late: true, ..output(10) };
    core.apply(&waits, &call()).expect("set aside");
    core.apply(&again, &decision(9, DecisionBody::Admit { output: waits.id })).expect("set aside");
    let admit = |number, output| decision(number, DecisionBody::Admit { output });
    assert_eq!(core.unmasked(&output(11), &admit(11, again.id)), Some(pair("p1", &set(&["u2"], 1))));
    assert_eq!(core.unmasked(&output(11), &admit(9, again.id)), None);
    for spent in [
        Output { spends: vec![output(1).coin], ..output(11) },
        Output { inscription: Some(B256::repeat_byte(1)), ..output(11) },
    ] {
        assert_eq!(core.unmasked(&spent, &admit(11, again.id)), None);
    }
}

/// A mask pays its user, of its own process only; the account itself and another process's mask come back.
#[test]
fn a_payout_should_reach_whom_its_own_process_saw() {
    let payee = |recipient: B256| {
        let mut core = private_core();
        core.mask(pair("p1", &set(&["u1"], 1)), shown(0xa1));
        core.mask(pair("p2", &set(&["u1"], 1)), shown(0xb1));
        core.apply(&output(2), &call()).expect("applies");
        core.feed(1, Record::Outbound(Outbound { recipient: recipient.to_vec(), ..outbound() })).expect("in order");
        let derived = only(core.advance().expect("pays"));
        (derived.outputs[0].0.clone(), derived.memo)
    };
    assert_eq!(payee(shown(0xa1).0), (Payee::Mix(set(&["u1"], 1)), DerivedMemo::Pay(b"hi".to_vec())));
    for foreign in [shown(0xb1), shown(0xc1), Account::of(&set(&["u1"], 1))] {
        assert_eq!(payee(foreign.0), (Payee::Group(0), DerivedMemo::Bounce(user("p1"))), "{foreign:?}");
    }
}
