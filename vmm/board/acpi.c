// SPDX-License-Identifier: BSD-2-Clause
//
// The ACPI tables of the board. Follows the ACPI specification, "ACPI Software Programming Model";
// FADT revision 5. Runs on the VMM's only thread, before the guest does.
#include "vmm/board/acpi.h"

#include <stddef.h>
#include <string.h>
#include "vmm/board/irq_router.h"
#include "vmm/dev/acpi_pm.h"
#include "vmm/dev/hpet.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/mc146818.h"

#define PACKED __attribute__((packed))

struct PACKED acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
};

// Generic address structure.
struct PACKED acpi_gas {
    uint8_t space, bits, offset, access;
    uint64_t address;
};
enum { GAS_MEMORY = 0, GAS_IO = 1, GAS_BYTE = 1, GAS_WORD = 2, GAS_DWORD = 3 };

struct PACKED acpi_rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt, length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
};

enum { ROOT_TABLES_MAX = 3 }; // FADT, MADT, and HPET if there is one

struct PACKED acpi_rsdt {
    struct acpi_header header;
    uint32_t entry[ROOT_TABLES_MAX];
};

struct PACKED acpi_xsdt {
    struct acpi_header header;
    uint64_t entry[ROOT_TABLES_MAX];
};

struct PACKED acpi_fadt {
    struct acpi_header header;
    uint32_t firmware_ctrl, dsdt;
    uint8_t reserved1, preferred_pm_profile;
    uint16_t sci_int;
    uint32_t smi_cmd;
    uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk;
    uint32_t pm2_cnt_blk, pm_tmr_blk, gpe0_blk, gpe1_blk;
    uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len;
    uint8_t gpe0_blk_len, gpe1_blk_len, gpe1_base, cst_cnt;
    uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alarm, mon_alarm, century;
    uint16_t iapc_boot_arch;
    uint8_t reserved2;
    uint32_t flags;
    struct acpi_gas reset_reg;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor_version;
    uint64_t x_firmware_ctrl, x_dsdt;
    struct acpi_gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk;
    struct acpi_gas x_pm2_cnt_blk, x_pm_tmr_blk, x_gpe0_blk, x_gpe1_blk;
    struct acpi_gas sleep_control_reg, sleep_status_reg;
};

struct PACKED acpi_facs {
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[31];
};

struct PACKED madt_lapic {
    uint8_t type, length, processor, apic_id;
    uint32_t flags;
};

struct PACKED madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
};

struct PACKED madt_override {
    uint8_t type, length, bus, source;
    uint32_t gsi;
    uint16_t flags;
};

struct PACKED madt_nmi {
    uint8_t type, length, processor;
    uint16_t flags;
    uint8_t lint;
};

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_NMI = 4 };
enum { MADT_ALL_PROCESSORS = 0xFF, MADT_CONFORMS = 0, MADT_HIGH_LEVEL = 0xD };

struct PACKED acpi_madt {
    struct acpi_header header;
    uint32_t lapic_address, flags;
    struct madt_ioapic ioapic;
    struct madt_override pit, sci;
    struct madt_nmi nmi;
    struct madt_lapic lapic[ACPI_VCPU_MAX];
};

// IA-PC HPET specification, "ACPI 2.0 HPET Description Table".
struct PACKED acpi_hpet {
    struct acpi_header header;
    uint32_t block_id;
    struct acpi_gas address;
    uint8_t number;
    uint16_t minimum_tick;
    uint8_t page_protection;
};

_Static_assert(sizeof(struct acpi_header) == 36, "System Description Table Header");
_Static_assert(sizeof(struct acpi_rsdp) == 36, "Root System Description Pointer");
_Static_assert(sizeof(struct acpi_fadt) == 268, "Fixed ACPI Description Table, revision 5");
_Static_assert(sizeof(struct acpi_facs) == 64, "Firmware ACPI Control Structure");
_Static_assert(offsetof(struct acpi_madt, ioapic) == 44, "Multiple APIC Description Table");
_Static_assert(sizeof(struct acpi_hpet) == 56, "HPET Description Table");

// FADT, "Fixed ACPI Description Table Fixed Feature Flags".
#define FADT_WBINVD        (1u << 0)
#define FADT_PROC_C1       (1u << 2)
#define FADT_SLP_BUTTON    (1u << 5) // set: none in the fixed registers
#define FADT_FIX_RTC       (1u << 6) // set: the RTC's wake status is not there either
#define FADT_TMR_VAL_EXT   (1u << 8)
#define FADT_RESET_REG_SUP (1u << 10)

// FADT, "IA-PC Boot Architecture Flags". The 8042 is on the board, without a keyboard.
#define BOOT_LEGACY_DEVICES (1u << 0)
#define BOOT_8042           (1u << 1)
#define BOOT_NO_VGA         (1u << 2)

#define RESET_PORT       0xCF9
#define RESET_HARD       0x06
#define MADT_PCAT_COMPAT 1u
#define LAPIC_ENABLED    1u
// Latencies beyond these say that there is no C2 and C3.
#define NO_C2            101
#define NO_C3            1001

// Where the next table goes.
struct acpi_area {
    const struct guest_ram *ram;
    uint64_t next;
    bool full;
};

uint8_t firmware_checksum(const void *data, uint64_t bytes)
{
    const uint8_t *byte = data;
    uint8_t sum = 0;

    for (uint64_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + byte[i]);
    return (uint8_t)-sum;
}

static struct acpi_header acpi_header(const char *signature, uint8_t revision, size_t length)
{
    struct acpi_header header = {
        .length = (uint32_t)length, .revision = revision,
        .oem_id = "BULKHD", .oem_table_id = "BULKHEAD", .oem_revision = 1,
        .creator_id = "BULK", .creator_revision = 1,
    };

    memcpy(header.signature, signature, sizeof(header.signature));
    return header;
}

// -> gpa of the copy, on a boundary of 64 bytes, which is what the FACS wants
static uint64_t acpi_place(struct acpi_area *area, const void *table, uint64_t bytes)
{
    uint64_t gpa = (area->next + 63) & ~63ull;

    if (bytes > ACPI_TABLES_END - gpa || !ram_write(area->ram, gpa, table, bytes))
        area->full = true;
    else
        area->next = gpa + bytes;
    return gpa;
}

// A table with a header: the checksum is over all of it.
static uint64_t acpi_place_table(struct acpi_area *area, void *table)
{
    struct acpi_header *header = table;

    header->checksum = 0;
    header->checksum = firmware_checksum(table, header->length);
    return acpi_place(area, table, header->length);
}

static struct acpi_gas acpi_port(uint16_t port, uint8_t bytes, uint8_t access)
{
    return (struct acpi_gas){ GAS_IO, (uint8_t)(bytes * 8), 0, access, port };
}

static uint64_t acpi_fadt(struct acpi_area *area, uint64_t facs, uint64_t dsdt)
{
    struct acpi_fadt fadt = {
        .header = acpi_header("FACP", 5, sizeof(fadt)),
        .firmware_ctrl = (uint32_t)facs,
        .dsdt = (uint32_t)dsdt, .x_dsdt = dsdt,
        .preferred_pm_profile = 4, // enterprise server
        .sci_int = ISA_IRQ_SCI,
        .smi_cmd = 0, // always in ACPI mode
        .pm1a_evt_blk = ACPI_PM1A_EVT, .pm1_evt_len = 4,
        .pm1a_cnt_blk = ACPI_PM1A_CNT, .pm1_cnt_len = 2,
        .pm_tmr_blk = ACPI_PM_TMR, .pm_tmr_len = 4,
        .p_lvl2_lat = NO_C2, .p_lvl3_lat = NO_C3,
        .century = RTC_CENTURY,
        .iapc_boot_arch = BOOT_LEGACY_DEVICES | BOOT_8042 | BOOT_NO_VGA,
        .flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC |
                 FADT_RESET_REG_SUP | (ACPI_PM_TMR_BITS == 32 ? FADT_TMR_VAL_EXT : 0),
        .reset_reg = acpi_port(RESET_PORT, 1, GAS_BYTE), .reset_value = RESET_HARD,
        .x_pm1a_evt_blk = acpi_port(ACPI_PM1A_EVT, 4, GAS_WORD),
        .x_pm1a_cnt_blk = acpi_port(ACPI_PM1A_CNT, 2, GAS_WORD),
        .x_pm_tmr_blk = acpi_port(ACPI_PM_TMR, 4, GAS_DWORD),
    };

    return acpi_place_table(area, &fadt);
}

static uint64_t acpi_madt(struct acpi_area *area, unsigned vcpus)
{
    struct acpi_madt madt = {
        .header = acpi_header("APIC", 3, offsetof(struct acpi_madt, lapic) +
                                             vcpus * sizeof(struct madt_lapic)),
        .lapic_address = LAPIC_BASE,
        .flags = MADT_PCAT_COMPAT,
        .ioapic = { MADT_IOAPIC, sizeof(madt.ioapic), BOARD_IOAPIC_ID, 0, IOAPIC_BASE, 0 },
        .pit = { MADT_OVERRIDE, sizeof(madt.pit), 0, ISA_IRQ_PIT, GSI_PIT, MADT_CONFORMS },
        .sci = { MADT_OVERRIDE, sizeof(madt.sci), 0, ISA_IRQ_SCI, ISA_IRQ_SCI, MADT_HIGH_LEVEL },
        .nmi = { MADT_NMI, sizeof(madt.nmi), MADT_ALL_PROCESSORS, MADT_CONFORMS, 1 },
    };

    for (unsigned i = 0; i < vcpus; i++)
        madt.lapic[i] = (struct madt_lapic){ MADT_LAPIC, sizeof(madt.lapic[i]), (uint8_t)i,
                                             (uint8_t)i, LAPIC_ENABLED };
    return acpi_place_table(area, &madt);
}

static uint64_t acpi_hpet(struct acpi_area *area)
{
    struct acpi_hpet hpet = {
        .header = acpi_header("HPET", 1, sizeof(hpet)),
        .block_id = HPET_ID, .address = { GAS_MEMORY, 64, 0, 0, HPET_BASE },
        .minimum_tick = HPET_MIN_TICK,
        .page_protection = 1, // nothing else is in its 4 KB
    };

    return acpi_place_table(area, &hpet);
}

static void acpi_rsdp(struct acpi_area *area, uint64_t rsdt, uint64_t xsdt, uint64_t gpa)
{
    struct acpi_rsdp rsdp = {
        .signature = "RSD PTR ", .oem_id = "BULKHD", .revision = 2,
        .rsdt = (uint32_t)rsdt, .length = sizeof(rsdp), .xsdt = xsdt,
    };

    rsdp.checksum = firmware_checksum(&rsdp, offsetof(struct acpi_rsdp, length));
    rsdp.extended_checksum = firmware_checksum(&rsdp, sizeof(rsdp));
    if (!ram_write(area->ram, gpa, &rsdp, sizeof(rsdp)))
        area->full = true;
}

bool acpi_write(const struct guest_ram *ram, unsigned vcpus, bool hpet, uint64_t *rsdp)
{
    struct acpi_area area = { ram, ACPI_TABLES + sizeof(struct acpi_rsdp), false };
    struct acpi_facs facs = { .signature = "FACS", .length = sizeof(facs), .version = 2 };
    struct acpi_rsdt rsdt = { .header = acpi_header("RSDT", 1, sizeof(rsdt.header)) };
    struct acpi_xsdt xsdt = { .header = acpi_header("XSDT", 1, sizeof(xsdt.header)) };
    uint64_t facs_gpa, dsdt_gpa;
    unsigned tables = 0;

    if (vcpus == 0 || vcpus > ACPI_VCPU_MAX)
        return false;
    facs_gpa = acpi_place(&area, &facs, sizeof(facs));
    dsdt_gpa = acpi_place(&area, dsdt_aml_code, dsdt_aml_bytes); // checksummed by iasl
    xsdt.entry[tables++] = acpi_fadt(&area, facs_gpa, dsdt_gpa);
    xsdt.entry[tables++] = acpi_madt(&area, vcpus);
    if (hpet)
        xsdt.entry[tables++] = acpi_hpet(&area);
    for (unsigned i = 0; i < tables; i++)
        rsdt.entry[i] = (uint32_t)xsdt.entry[i];
    rsdt.header.length += tables * (uint32_t)sizeof(rsdt.entry[0]);
    xsdt.header.length += tables * (uint32_t)sizeof(xsdt.entry[0]);
    *rsdp = ACPI_TABLES;
    acpi_rsdp(&area, acpi_place_table(&area, &rsdt), acpi_place_table(&area, &xsdt), *rsdp);
    return !area.full;
}
