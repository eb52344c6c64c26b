//! Interfaces and bytecode of the group contract and of an example, as the compiler exported them.

#[expect(missing_docs, reason = "written by the macro; IGroup.sol documents it")]
mod generated {
    alloy::sol!(
        #[sol(rpc, all_derives)]
        Group,
        "../contracts/abi/Group.json"
    );
    alloy::sol!(
        #[sol(rpc)]
        Vault,
        "../contracts/abi/Vault.json"
    );
}

pub use generated::{Group, Vault};
