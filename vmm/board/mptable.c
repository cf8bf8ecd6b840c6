// SPDX-License-Identifier: BSD-2-Clause
//
// The MP table and the BIOS data area, for systems that look there and not at ACPI. Follows Intel's
// MultiProcessor Specification 1.4, "MP Configuration Table".
// Runs on the VMM's only thread, before the guest does.
#include <stddef.h>
#include <string.h>
#include "vmm/board/acpi.h"
#include "vmm/board/irq_router.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/uart16550.h"
#include "vmm/dev/vga_crtc.h"

struct mp_floating {
    char signature[4];
    uint32_t config;
    uint8_t length, revision, checksum, features[5]; // length in units of 16 bytes
};

struct mp_config {
    char signature[4];
    uint16_t length;
    uint8_t revision, checksum;
    char oem_id[8], product_id[12];
    uint32_t oem_table;
    uint16_t oem_bytes, entries;
    uint32_t lapic_address;
    uint16_t extended_length;
    uint8_t extended_checksum, reserved;
};

struct mp_processor {
    uint8_t type, apic_id, apic_version, flags;
    uint32_t signature, features, reserved[2];
};

struct mp_bus {
    uint8_t type, id;
    char name[6];
};

struct mp_ioapic {
    uint8_t type, id, version, flags;
    uint32_t address;
};

struct mp_interrupt {
    uint8_t type, kind;
    uint16_t flags;
    uint8_t bus, irq, apic, pin;
};

_Static_assert(sizeof(struct mp_floating) == 16, "MP Floating Pointer Structure");
_Static_assert(sizeof(struct mp_config) == 44, "MP Configuration Table Header");
_Static_assert(sizeof(struct mp_processor) == 20, "Processor Entries");
_Static_assert(sizeof(struct mp_interrupt) == 8, "I/O Interrupt Assignment Entries");

enum { MP_PROCESSOR, MP_BUS, MP_IOAPIC, MP_INTERRUPT, MP_LOCAL };
enum { MP_INT = 0, MP_NMI = 1, MP_EXTINT = 3 };
enum { MP_ENABLED = 1, MP_BOOT = 2 };
enum { MP_CONFORMS = 0, MP_HIGH_LEVEL = 0xD };
enum { BUS_PCI = 0, BUS_ISA = 1, ISA_IRQ_CASCADE = 2, MP_ALL_APICS = 0xFF };
enum { MP_LAPIC_VERSION = 0x14 };

// A table under construction.
struct mp_builder {
    uint8_t bytes[4096];
    unsigned used, entries;
};

static void mp_add(struct mp_builder *b, const void *entry, unsigned bytes)
{
    memcpy(b->bytes + b->used, entry, bytes);
    b->used += bytes;
    b->entries++;
}

static void mp_add_processors(struct mp_builder *b, unsigned vcpus)
{
    for (unsigned i = 0; i < vcpus; i++) {
        struct mp_processor processor = {
            .type = MP_PROCESSOR, .apic_id = (uint8_t)i, .apic_version = MP_LAPIC_VERSION,
            .flags = i == 0 ? MP_ENABLED | MP_BOOT : MP_ENABLED,
            .signature = 0x600, .features = 0x201, // family 6 with FPU and APIC: CPUID has more
        };
        mp_add(b, &processor, sizeof(processor));
    }
}

static void mp_add_interrupts(struct mp_builder *b)
{
    for (unsigned irq = 0; irq < ISA_IRQS; irq++) {
        struct mp_interrupt interrupt = {
            .type = MP_INTERRUPT, .kind = MP_INT,
            .flags = irq == ISA_IRQ_SCI ? MP_HIGH_LEVEL : MP_CONFORMS,
            .bus = BUS_ISA, .irq = (uint8_t)irq, .apic = BOARD_IOAPIC_ID,
            .pin = (uint8_t)(irq == ISA_IRQ_PIT ? GSI_PIT : irq),
        };
        if (irq != ISA_IRQ_CASCADE)
            mp_add(b, &interrupt, sizeof(interrupt));
    }
    mp_add(b, &(struct mp_interrupt){ MP_LOCAL, MP_EXTINT, MP_CONFORMS, BUS_ISA, 0, 0, 0 },
           sizeof(struct mp_interrupt));
    mp_add(b, &(struct mp_interrupt){ MP_LOCAL, MP_NMI, MP_CONFORMS, BUS_ISA, 0, MP_ALL_APICS, 1 },
           sizeof(struct mp_interrupt));
}

bool mptable_write(const struct guest_ram *ram, unsigned vcpus)
{
    struct mp_builder b = { .used = sizeof(struct mp_config) };
    struct mp_config config = {
        .signature = "PCMP", .revision = 4, .oem_id = "BULKHEAD", .product_id = "BOARD       ",
        .lapic_address = LAPIC_BASE,
    };
    struct mp_floating floating = {
        .signature = "_MP_", .config = (uint32_t)(MP_TABLE + sizeof(floating)),
        .length = 1, .revision = 4,
    };

    if (vcpus == 0 || vcpus > ACPI_VCPU_MAX)
        return false;
    mp_add_processors(&b, vcpus);
    mp_add(&b, &(struct mp_bus){ MP_BUS, BUS_PCI, "PCI   " }, sizeof(struct mp_bus));
    mp_add(&b, &(struct mp_bus){ MP_BUS, BUS_ISA, "ISA   " }, sizeof(struct mp_bus));
    mp_add(&b, &(struct mp_ioapic){ MP_IOAPIC, BOARD_IOAPIC_ID, IOAPIC_VERSION, MP_ENABLED,
                                    IOAPIC_BASE }, sizeof(struct mp_ioapic));
    mp_add_interrupts(&b);
    config.length = (uint16_t)b.used;
    config.entries = (uint16_t)b.entries;
    memcpy(b.bytes, &config, sizeof(config));
    b.bytes[offsetof(struct mp_config, checksum)] = firmware_checksum(b.bytes, b.used);
    floating.checksum = firmware_checksum(&floating, sizeof(floating));
    return ram_write(ram, MP_TABLE, &floating, sizeof(floating)) &&
           ram_write(ram, MP_TABLE + sizeof(floating), b.bytes, b.used);
}

// "BIOS Data Area": where COM1 and the EBDA are, how much conventional memory there is, and the
// text screen: mode 3 on page 0 with the cursor in its corner, as vmm/dev/vga_crtc.c has it. The
// shape of the cursor is told in lines of a CGA's character, which a VGA's BIOS translates.
static bool bios_data_write(const struct guest_ram *ram)
{
    static const struct {
        uint16_t offset, bytes, value;
    } field[] = {
        { 0x00, 2, UART_COM1 },
        { 0x0E, 2, RAM_EBDA >> 4 },
        { 0x10, 2, 1 << 9 | 2 << 4 }, // one serial port; a colour screen of 80 columns
        { 0x13, 2, RAM_EBDA >> 10 },
        { 0x49, 1, 3 },               // mode
        { 0x4A, 2, 80 },              // columns
        { 0x4C, 2, 0x1000 },          // bytes of a page
        { 0x4E, 2, 0 },               // where the page begins
        { 0x50, 2, 0 },               // column and row of the cursor; so on the other seven pages
        { 0x60, 2, 0x0607 },          // last and first line of the cursor
        { 0x62, 1, 0 },               // page
        { 0x63, 2, VGA_CRTC_BASE },
        { 0x65, 1, 0x29 },            // mode control of a CGA: 80 columns, shown, blinking
        { 0x84, 1, 25 - 1 },          // last row
        { 0x85, 2, 16 },              // lines of a character
    };
    uint8_t ebda_kb = (RAM_BASE_END - RAM_EBDA) >> 10;
    bool ok = ram_write(ram, RAM_EBDA, &ebda_kb, sizeof(ebda_kb));

    for (unsigned i = 0; i < sizeof(field) / sizeof(field[0]); i++)
        ok &= ram_write(ram, BIOS_DATA_AREA + field[i].offset, &field[i].value, field[i].bytes);
    return ok;
}

// A jump to F000:FFF0 or FFFF:0 is how old software resets a PC. These bytes mean the same in 16,
// 32 and 64 bits: 6 to port 0xCF9, and nothing behind that.
static bool reset_vector_write(const struct guest_ram *ram)
{
    static const uint8_t code[] = {
        0xB0, 0x06,                   // mov al, 6
        0xBA, 0xF9, 0x0C, 0x90, 0x90, // mov dx, 0xCF9; two NOPs, or the upper half of EDX
        0xEE,                         // out dx, al
        0xFA, 0xF4, 0xEB, 0xFC,       // cli; hlt; and again
    };
    return ram_write(ram, RESET_VECTOR, code, sizeof(code));
}

bool firmware_write(const struct guest_ram *ram, unsigned vcpus, bool hpet, uint64_t *rsdp)
{
    return bios_data_write(ram) && acpi_write(ram, vcpus, hpet, rsdp) &&
           mptable_write(ram, vcpus) && reset_vector_write(ram);
}
