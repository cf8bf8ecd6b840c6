// SPDX-License-Identifier: BSD-2-Clause
//
// The groups of test-pic that need no interrupt to be taken: what the chips' registers say. They
// begin and end with interrupts off and all pins masked.

#pragma once

void test_commands(void);
void test_pit_modes(void);
void test_rtc_clock(void);
