// SPDX-License-Identifier: BSD-2-Clause
//
// The groups of assertions of test-isolation, in the order in which they run.

#pragma once

// All I/O ports in three widths, and what ends a machine elsewhere, test-isolation/ports.c.
void test_ports(void);
void test_config_space(void);

// All of CPUID, test-isolation/cpuid.c.
void test_cpuid(void);

// Guest-physical memory, test-isolation/memory.c: own RAM, the pages below 4 GB that are neither
// RAM nor device (with the option `all` each of them, else a sample), and all above.
void test_ram(void);
void test_low_holes(void);
void test_high_holes(void);

// Accesses that cross from RAM into nowhere and back, test-isolation/strings.c.
void test_borders(void);

// Page tables that lie in nowhere or in a device, and the local APIC's page,
// test-isolation/tables.c.
void test_tables(void);
void test_apic_page(void);

// Instructions of hypervisors, and hypercalls, test-isolation/instructions.c.
void test_instructions(void);
void test_hypercalls(void);

// All MSRs, test-isolation/msrs.c.
void test_msrs(void);

// Ends this VM in the way that the option end= names, test-isolation/ends.c. Returns when nothing
// of that name is known, or when the VM lives on.
void hostile_end(const char *name);
