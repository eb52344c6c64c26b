//! The group contract's interface and bytecode, as the compiler exported them.

#[expect(missing_docs, reason = "written by the macro; IGroup.sol documents it")]
mod generated {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Group,
        "../contracts/abi/Group.json"
    );
}

pub use generated::Group;
