// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Group} from "../src/Group.sol";
import {BaseScript} from "./BaseScript.sol";

/// @notice Deploys the group contract of the chain it runs on, as the group file says.
///
///     FOUNDRY_PROFILE=deploy LOCKSTEP_GROUP_FILE=group.toml LOCKSTEP_DEPLOY_OUT=deployed.json \
///         forge script script/Deploy.s.sol --rpc-url URL --broadcast --private-key KEY
///
/// The group file has `group_id` and `key`, and for this chain a table of `[[chains]]` with `id` and `instance`, and perhaps
/// `recovery = { address = "0x…", silence_days = 90 }`. What was deployed is written to LOCKSTEP_DEPLOY_OUT: contract, chain,
/// instance, and the block before it, to read logs from.
contract Deploy is BaseScript {
    /// @notice The group file has no `[[chains]]` with this id.
    error ChainNotInGroupFile(uint256 chain);

    /// @notice The group file names a contract of this chain, and it exists.
    error AlreadyDeployed(uint256 chain, address group);

    /// @notice More days of silence than the contract counts.
    error TooManyDays(uint256 silenceDays);

    function run() external returns (Group group) {
        string memory file = vm.readFile(vm.envString("LOCKSTEP_GROUP_FILE"));
        bytes32 groupId = vm.parseTomlBytes32(file, ".group_id");
        bytes memory key = vm.parseTomlBytes(file, ".key");
        string memory table = tableIn(file);
        bytes32 instance = instanceIn(file, table);
        (address recovery, uint16 silenceDays) = recoveryIn(file, table);
        uint256 from = block.number;
        group = deploy(groupId, instance, key, recovery, silenceDays);

        string memory json = "deployed";
        vm.serializeUint(json, "chain", block.chainid);
        vm.serializeBytes32(json, "instance", instance);
        vm.serializeUint(json, "block", from);
        vm.writeFile(vm.envString("LOCKSTEP_DEPLOY_OUT"), vm.serializeAddress(json, "contract", address(group)));
    }

    function deploy(bytes32 groupId, bytes32 instance, bytes memory key, address recovery, uint16 silenceDays)
        private
        broadcast
        returns (Group)
    {
        return new Group(groupId, instance, key, recovery, silenceDays);
    }

    /// @dev The instance in this chain's table, unless what that names is deployed already.
    function instanceIn(string memory file, string memory table) private view returns (bytes32) {
        string memory named = string.concat(table, ".contract");
        if (vm.keyExistsToml(file, named)) {
            address group = vm.parseTomlAddress(file, named);
            require(group.code.length == 0, AlreadyDeployed(block.chainid, group));
        }
        return vm.parseTomlBytes32(file, string.concat(table, ".instance"));
    }

    /// @dev Who may replace the key, and after how many days of silence: nobody unless the table says so.
    function recoveryIn(string memory file, string memory table)
        private
        view
        returns (address recovery, uint16 silenceDays)
    {
        string memory named = string.concat(table, ".recovery");
        if (!vm.keyExistsToml(file, named)) return (address(0), 0);
        uint256 number = vm.parseTomlUint(file, string.concat(named, ".silence_days"));
        require(number <= type(uint16).max, TooManyDays(number));
        return (vm.parseTomlAddress(file, string.concat(named, ".address")), uint16(number));
    }

    function tableIn(string memory file) private view returns (string memory table) {
        uint256 id;
        for (uint256 i; id != block.chainid; ++i) {
            table = string.concat(".chains[", vm.toString(i), "]");
            require(vm.keyExistsToml(file, table), ChainNotInGroupFile(block.chainid));
            id = vm.parseTomlUint(file, string.concat(table, ".id"));
        }
    }
}
