// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {Message} from "../types/Messages.sol";

/// @title A developer contract that the group calls.
/// @dev `Process` is the base contract to build on: it binds, checks the caller and splits calls from bounces.
interface IProcess {
    /// @notice Takes the next message of this process's mailbox.
    /// @dev Called with the registered gas limit, in order of nonces, once for each message; kinds are CALL and BOUNCE
    /// only. The amount is booked to the process before the call. `IGroup.send` may be called from inside.
    ///
    /// A call that reverts or runs out of gas counts as failed: its effects are undone and a payment goes back to the
    /// sender. A failed bounce keeps its amount booked to the process, and is not repeated.
    ///
    /// Warning: check that `msg.sender` is the group, or anyone can forge messages.
    function onMessage(Message calldata message) external;
}
