// SPDX-License-Identifier: BSD-2-Clause
//
// The ends of a guest: power-off in good order, and death with a line that starts "GUEST-FAIL".

#pragma once

#include <stdint.h>

struct trap_frame;

// Powers the machine off: ACPI S5 on Bulkhead's board, else QEMU's debug exit with this status and
// the S5 of QEMU and Bochs. Does not return.
_Noreturn void guest_poweroff(int status);

// Prints "GUEST-FAIL MESSAGE" and powers off.
_Noreturn void guest_die(const char *message);

// Prints vector, error code, RIP and CR2 of an exception that nobody expected, and powers off.
_Noreturn void guest_die_by_trap(const struct trap_frame *frame, uint64_t cr2);
