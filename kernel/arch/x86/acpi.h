// SPDX-License-Identifier: BSD-2-Clause
// What the kernel needs of ACPI: the cores, the IOAPICs, the ISA interrupts' wiring, a timer to
// measure the TSC against, which of a PC's old devices are there, and how the machine is switched
// off and reset. Read once at boot by the boot core, while the first 4 GB are mapped; constant
// afterwards. (ACPI specification.) Of the rest of the kernel the parser needs arch_ptr() and
// log_line() only: tests/unit/test_firmware.c and tests/fuzz/fuzz_firmware.c run it on the host.
#pragma once
#include "kernel/core/cpu.h"

#define ACPI_PACKED __attribute__((packed))
enum { GAS_MEMORY, GAS_PORT };
struct ACPI_PACKED gas { uint8_t space, access[3]; uint64_t address; }; // "generic address"
// Of what is between these fields only the place counts.
struct ACPI_PACKED fadt {
    uint8_t head[40]; uint32_t dsdt; uint8_t at44[4]; uint32_t smi_cmd; uint8_t acpi_enable;
    uint8_t at53[11]; uint32_t pm1_cnt[2], pm2_cnt, pm_tmr; uint8_t at80[11], pm_tmr_len;
    uint8_t at92[17]; uint16_t boot_arch; uint8_t at111; uint32_t flags; struct gas reset;
    uint8_t reset_value, at129[11]; uint64_t x_dsdt; struct gas x_pm1_evt[2], x_pm1_cnt[2];
    struct gas x_pm2_cnt, x_pm_tmr, x_gpe[2], sleep_control;
};
_Static_assert(offsetof(struct fadt, sleep_control) == 244, "ACPI specification, FADT");
#define FADT_NO_RTC     (1u << 5)  // of boot_arch
#define FADT_RESET_REG  (1u << 10) // of flags
#define FADT_HW_REDUCED (1u << 20) // nothing of a PC's old devices is promised

// Of the two fields that name a block the newer one counts where it is filled in. 0: no such block.
static inline uint16_t acpi_port(struct gas newer, uint32_t older)
{
    return (uint16_t)(newer.space == GAS_PORT && newer.address ? newer.address : older);
}

struct acpi_facts {
    uint32_t apic_id[CPU_MAX], cores; // no id twice; the boot core's is anywhere among them, or not
    uint32_t more;                    // enabled cores beyond those
    struct { uint32_t address, gsi_base; } ioapic[8];
    uint32_t ioapics;
    struct { uint32_t gsi; uint16_t flags; } isa[16];
    uint16_t pm_timer;         // its port; 0: none
    struct fadt fadt;          // a copy; what a shorter, older one lacks is zeros
    bool sleeps;               // \_S5 was found:
    uint8_t sleep_type[2];     // SLP_TYP of PM1a and PM1b; the first is the sleep register's
    bool pics;                 // two 8259
    bool emulator;             // OEM id of Bochs and QEMU: their exit ports may be written
};
extern struct acpi_facts acpi;

// `bytes`: how much of the RSDP the loader handed on. NULL, or what is missing.
const char *acpi_parse(const void *rsdp, uint32_t bytes);
// acpi_s5.c, pure: looks for \_S5 in the table's `bytes`.
bool acpi_find_s5(const uint8_t *aml, uint32_t bytes, uint8_t type[2]);
