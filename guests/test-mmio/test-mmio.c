// SPDX-License-Identifier: BSD-2-Clause
//
// Test guest: what the VMM must emulate for the guest's instructions: port I/O with its string
// forms, and MMIO by every instruction that a driver may use.

#include "guests/lib/check.h"
#include "guests/test-mmio/groups.h"

int main(void)
{
    test_ports();
    test_string_io();
    test_unclaimed();
    test_rom_area();
    test_ioapic();
    test_lapic();
    test_decode();
    test_insns();
    test_vectors();
    return check_done();
}
