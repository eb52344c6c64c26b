// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {IGroup} from "../src/interfaces/IGroup.sol";
import {Batch, GovernanceKind} from "../src/types/Messages.sol";
import {GroupTest} from "./helpers/GroupTest.sol";
import {Members, Signed} from "./helpers/Members.sol";
import {Signer} from "./helpers/Signer.sol";
import {MockProcess} from "./mocks/MockProcess.sol";

/// @notice Decisions of the group for one contract: who may make them, what each does and what it leaves alone.
contract GovernTest is GroupTest {
    uint256 private constant NEW_SECRET = 0x2006;

    uint256 private box;
    MockProcess private target;

    function setUp() public override {
        super.setUp();
        (box, target) = newLiveProcess(PROCESS);
        post(box, ALICE, 50, "");
        deliver(box, 1);
    }

    /* REFUSALS: THE SIGNED WORDS */

    function test_RefusesAnotherKeysSignature() public {
        bytes memory signature = Signer.sign(SECRET + 1, decisionDigest(0, GovernanceKind.HALT, ""));
        refusesSignature(0, GovernanceKind.HALT, "", signature);
    }

    function test_RefusesASignatureAtInfinity() public {
        refusesSignature(0, GovernanceKind.HALT, "", new bytes(128));
    }

    function test_RefusesASignatureOfAnotherLength() public {
        bytes memory signature = Signer.sign(SECRET, decisionDigest(0, GovernanceKind.HALT, ""));
        refusesSignature(0, GovernanceKind.HALT, "", bytes.concat(signature, hex"00"));
        refusesSignature(0, GovernanceKind.HALT, "", "");
    }

    function test_RefusesADecisionForAnotherGroup() public {
        refusesWords(keccak256("another group"), block.chainid, address(group), INSTANCE);
    }

    function test_RefusesADecisionForAnotherChain() public {
        refusesWords(GROUP_ID, block.chainid + 1, address(group), INSTANCE);
    }

    function test_RefusesADecisionForAnotherContract() public {
        refusesWords(GROUP_ID, block.chainid, address(this), INSTANCE);
    }

    function test_RefusesADecisionForAnotherInstance() public {
        refusesWords(GROUP_ID, block.chainid, address(group), keccak256("another deployment"));
    }

    function test_RefusesADecisionForAnotherKind() public {
        bytes memory signature = Signer.sign(SECRET, decisionDigest(0, GovernanceKind.HALT, ""));
        refusesSignature(0, GovernanceKind.RESUME, "", signature);
    }

    function test_RefusesADecisionWithOtherData() public {
        bytes memory signature = Signer.sign(SECRET, decisionDigest(0, GovernanceKind.REPAY, abi.encode(1, 2)));
        refusesSignature(0, GovernanceKind.REPAY, abi.encode(1, 3), signature);
    }

    /// @dev A checkpoint is signed with the same key, and is no decision.
    function test_RefusesTheSignatureOfACheckpoint() public {
        refusesSignature(0, GovernanceKind.HALT, "", members.sign().signature);
    }

    function test_RefusesADecisionThatWasUsed() public {
        bytes memory signature = Signer.sign(SECRET, decisionDigest(0, GovernanceKind.HALT, ""));
        group.govern(0, GovernanceKind.HALT, "", signature);
        vm.expectRevert(abi.encodeWithSelector(IGroup.WrongGovernanceNonce.selector, 1, 0));
        group.govern(0, GovernanceKind.HALT, "", signature);
        // MVM's halt was a toggle that anybody could turn back by repeating it.
        vm.assertTrue(group.halted());
        refusesSignature(1, GovernanceKind.HALT, "", signature);
    }

    function test_RefusesADecisionBeforeItsTurn() public {
        bytes memory signature = Signer.sign(SECRET, decisionDigest(1, GovernanceKind.HALT, ""));
        vm.expectRevert(abi.encodeWithSelector(IGroup.WrongGovernanceNonce.selector, 0, 1));
        group.govern(1, GovernanceKind.HALT, "", signature);
    }

    function testFuzz_RefusesAnUnknownKind(uint8 kind) public {
        vm.assume(kind == 0 || kind > GovernanceKind.REPAY);
        refusesDecision(kind, "", abi.encodeWithSelector(IGroup.UnknownGovernanceKind.selector, kind));
    }

    /// @dev Else a process could govern between two messages that the deliverer sees as one.
    function test_RefusesADecisionFromInsideOfADelivery() public {
        bytes memory signature = Signer.sign(SECRET, decisionDigest(0, GovernanceKind.HALT, ""));
        target.setMode(MockProcess.Mode.Reenter);
        target.setReentry(abi.encodeCall(group.govern, (0, GovernanceKind.HALT, "", signature)));
        post(box, ALICE, 5, "");
        deliver(box, 2);
        vm.assertFalse(target.reentered());
        vm.assertFalse(group.halted());
    }

    /* REFUSALS: THE DATA */

    function test_RefusesHaltAndResumeWithData() public {
        bytes memory reason = abi.encodeWithSelector(IGroup.InvalidGovernance.selector);
        refusesDecision(GovernanceKind.HALT, hex"00", reason);
        refusesDecision(GovernanceKind.RESUME, hex"00", reason);
    }

    function test_RefusesDataThatCannotBeRead() public {
        refusesDecision(GovernanceKind.ROTATE, hex"01", "");
        refusesDecision(GovernanceKind.ASSET, abi.encode(XIN), "");
        refusesDecision(GovernanceKind.REPAY, abi.encode(1), "");
        refusesDecision(GovernanceKind.REPAY, abi.encode(uint256(1) << 64, 1), "");
    }

    function test_RefusesAKeyOfNoHigherGeneration() public {
        bytes memory reason = abi.encodeWithSelector(IGroup.StaleGeneration.selector, 0, 0);
        refusesDecision(GovernanceKind.ROTATE, rotation(NEW_SECRET, 0), reason);
        decide(GovernanceKind.ROTATE, rotation(SECRET, 7));
        reason = abi.encodeWithSelector(IGroup.StaleGeneration.selector, 7, 7);
        refusesDecision(GovernanceKind.ROTATE, rotation(NEW_SECRET, 7), reason);
    }

    function test_RefusesAKeyThatIsNoPoint() public {
        bytes memory reason = abi.encodeWithSelector(IGroup.InvalidKey.selector);
        bytes memory signature = possession(NEW_SECRET, 1);
        refusesDecision(GovernanceKind.ROTATE, abi.encode(1, new bytes(256), signature), reason);
        refusesDecision(GovernanceKind.ROTATE, abi.encode(1, new bytes(256), new bytes(128)), reason);
        refusesDecision(GovernanceKind.ROTATE, abi.encode(1, "", signature), reason);
        bytes memory key = Signer.key(NEW_SECRET);
        key[255] ^= 0x01;
        refusesDecision(GovernanceKind.ROTATE, abi.encode(1, key, signature), reason);
    }

    /// @dev A key that nobody holds would end the group; one of another's would give it away.
    function test_RefusesAKeyWithoutPossession() public {
        bytes memory key = Signer.key(NEW_SECRET);
        refusesPossession(key, new bytes(128));
        refusesPossession(key, "");
        refusesPossession(key, possession(SECRET, 1));
        refusesPossession(key, possession(NEW_SECRET, 2));
        refusesPossession(key, Signer.sign(SECRET, decisionDigest(0, GovernanceKind.ROTATE, "")));
    }

    function test_RefusesToNameNoAsset() public {
        refusesName(0, "XIN", "XIN");
    }

    function test_RefusesALongNameOrSymbol() public {
        refusesName(XIN, string(new bytes(65)), "XIN");
        refusesName(XIN, "XIN", string(new bytes(17)));
    }

    /* HALT */

    function test_HaltsWithItsEvent() public {
        vm.expectEmit(address(group));
        emit IGroup.Governed(0, GovernanceKind.HALT, "");
        decide(GovernanceKind.HALT, "");
        vm.assertTrue(group.halted());
        vm.assertEq(group.governanceNonce(), 1);
        vm.assertEq(group.key(), Signer.key(SECRET));
    }

    function test_StopsDeliveries() public {
        post(box, ALICE, 5, "");
        Signed memory signed = members.sign();
        decide(GovernanceKind.HALT, "");
        Batch[] memory batches = list(members.batch(signed, box, 2));
        vm.expectRevert(IGroup.Halted.selector);
        group.deliver(signed.checkpoint, signed.signature, batches);
    }

    /// @dev Also under the checkpoint that was accepted, whose signature is not looked at otherwise.
    function test_StopsDeliveriesUnderTheCachedCheckpoint() public {
        post(box, ALICE, 5, "");
        Signed memory signed = members.sign();
        deliver(signed, new Batch[](0));
        decide(GovernanceKind.HALT, "");
        Batch[] memory batches = list(members.batch(signed, box, 2));
        vm.expectRevert(IGroup.Halted.selector);
        group.deliver(signed.checkpoint, signed.signature, batches);
    }

    function test_StopsPayouts() public {
        decide(GovernanceKind.HALT, "");
        vm.expectRevert(IGroup.Halted.selector);
        target.send(XIN, 1, abi.encode(ALICE), "");
    }

    function test_StopsNothingElse() public {
        decide(GovernanceKind.HALT, "");
        MockProcess late = new MockProcess(group, OTHER);
        vm.assertEq(group.processOf(address(late)), OTHER);
        vm.assertEq(group.custody(PROCESS, XIN), 50);
        decide(GovernanceKind.ASSET, abi.encode(XIN, "Mixin", "XIN"));
        (string memory name,) = group.assetInfo(XIN);
        vm.assertEq(bytes(name), "Mixin");
    }

    function test_HaltsTwice() public {
        decide(GovernanceKind.HALT, "");
        decide(GovernanceKind.HALT, "");
        vm.assertTrue(group.halted());
        vm.assertEq(group.governanceNonce(), 2);
        decide(GovernanceKind.RESUME, "");
        vm.assertFalse(group.halted());
        vm.assertEq(group.key(), Signer.key(SECRET));
    }

    /* RESUME */

    function test_ResumesWhereItStopped() public {
        post(box, ALICE, 5, "one");
        Signed memory signed = members.sign();
        decide(GovernanceKind.HALT, "");
        decide(GovernanceKind.RESUME, "");
        deliver(signed, box, 2);
        target.send(XIN, 55, abi.encode(ALICE), "");
        vm.assertEq(group.outboundNonce(), 1);
        vm.assertEq(group.sequence(), signed.checkpoint.sequence);
    }

    function test_ResumesWhatRuns() public {
        decide(GovernanceKind.RESUME, "");
        vm.assertFalse(group.halted());
        vm.assertEq(group.governanceNonce(), 1);
        vm.assertEq(group.key(), Signer.key(SECRET));
    }

    /* ROTATE */

    function test_TakesANewKey() public {
        bytes memory data = rotation(NEW_SECRET, 3);
        vm.expectEmit(address(group));
        emit IGroup.Governed(0, GovernanceKind.ROTATE, data);
        decide(GovernanceKind.ROTATE, data);
        vm.assertEq(group.key(), Signer.key(NEW_SECRET));
        vm.assertEq(group.keyGeneration(), 3);
        vm.assertFalse(group.halted());
    }

    /// @dev The newest checkpoint was accepted under the old key: it does not pass on its cached digest either.
    function test_VerifiesEverythingUnderTheNewKey() public {
        post(box, ALICE, 5, "");
        Signed memory signed = members.sign();
        deliver(signed, new Batch[](0));
        decide(GovernanceKind.ROTATE, rotation(NEW_SECRET, 1));
        refuses(signed, list(members.batch(signed, box, 2)), abi.encodeWithSelector(IGroup.InvalidSignature.selector));
        signed.signature = Signer.sign(NEW_SECRET, members.digestOf(signed.checkpoint));
        deliver(signed, box, 2);
        vm.assertEq(group.custody(PROCESS, XIN), 55);

        bytes memory signature = Signer.sign(SECRET, decisionDigest(1, GovernanceKind.HALT, ""));
        refusesSignature(1, GovernanceKind.HALT, "", signature);
        signature = Signer.sign(NEW_SECRET, decisionDigest(1, GovernanceKind.HALT, ""));
        group.govern(1, GovernanceKind.HALT, "", signature);
        vm.assertTrue(group.halted());
    }

    function test_RotatesWhileHalted() public {
        decide(GovernanceKind.HALT, "");
        decide(GovernanceKind.ROTATE, rotation(NEW_SECRET, 1));
        vm.assertTrue(group.halted());
        vm.assertEq(group.key(), Signer.key(NEW_SECRET));
        group.govern(
            2, GovernanceKind.RESUME, "", Signer.sign(NEW_SECRET, decisionDigest(2, GovernanceKind.RESUME, ""))
        );
        vm.assertFalse(group.halted());
        vm.assertEq(group.key(), Signer.key(NEW_SECRET));
    }

    /* ASSET AND REPAY */

    function testFuzz_NamesAnAsset(bytes32 asset, string calldata name, string calldata symbol) public {
        vm.assume(asset != 0 && bytes(name).length <= 64 && bytes(symbol).length <= 16);
        decide(GovernanceKind.ASSET, abi.encode(asset, "Old name", "OLD"));
        decide(GovernanceKind.ASSET, abi.encode(asset, name, symbol));
        (string memory named, string memory short) = group.assetInfo(asset);
        vm.assertEq(bytes(named), bytes(name));
        vm.assertEq(bytes(short), bytes(symbol));
    }

    function testFuzz_LimitsRepayments(uint64 tip, uint32 perByte) public {
        decide(GovernanceKind.REPAY, abi.encode(tip, perByte));
        (uint64 tipWei, uint32 gasPerByte) = group.repayLimits();
        vm.assertEq(tipWei, tip);
        vm.assertEq(gasPerByte, perByte);
    }

    /* HELPERS */

    function refusesSignature(uint64 nonce, uint8 kind, bytes memory data, bytes memory signature) private {
        vm.expectRevert(IGroup.InvalidSignature.selector);
        group.govern(nonce, kind, data, signature);
    }

    function refusesWords(bytes32 groupId, uint256 chain, address contract_, bytes32 instance_) private {
        bytes32 domain = keccak256("lockstep/v1/govern");
        bytes32 digest = keccak256(
            abi.encode(domain, groupId, chain, contract_, instance_, uint64(0), GovernanceKind.HALT, keccak256(""))
        );
        refusesSignature(0, GovernanceKind.HALT, "", Signer.sign(SECRET, digest));
    }

    /// @dev A decision that is signed and still makes no sense; its nonce stays for another.
    function refusesDecision(uint8 kind, bytes memory data, bytes memory reason) private {
        uint64 nonce = group.governanceNonce();
        bytes memory signature = Signer.sign(SECRET, decisionDigest(nonce, kind, data));
        vm.expectRevert(reason);
        group.govern(nonce, kind, data, signature);
        vm.assertEq(group.governanceNonce(), nonce);
    }

    function refusesPossession(bytes memory key, bytes memory signature) private {
        bytes memory reason = abi.encodeWithSelector(IGroup.InvalidPossession.selector);
        refusesDecision(GovernanceKind.ROTATE, abi.encode(1, key, signature), reason);
    }

    function refusesName(bytes32 asset, string memory name, string memory symbol) private {
        bytes memory reason = abi.encodeWithSelector(IGroup.InvalidGovernance.selector);
        refusesDecision(GovernanceKind.ASSET, abi.encode(asset, name, symbol), reason);
    }
}
