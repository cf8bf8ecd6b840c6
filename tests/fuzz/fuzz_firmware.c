// SPDX-License-Identifier: BSD-2-Clause
// What the boot core reads of loader and firmware. The input lies at the very end of what is mapped
// then, so a byte too far is seen. It begins with: which parser, and where in it the root is.
#include "kernel/arch/x86/acpi.h"
#include "kernel/arch/x86/multiboot.h"
#include "tests/unit/low_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void fuzz_multiboot(const uint8_t *data, size_t bytes)
{
    static struct boot_facts facts;
    const struct ram_range image = { 0x100000, 0x180000 };
    if (bytes < 8)
        return;
    memset(&facts, 0, sizeof(facts));
    uint32_t at = (uint32_t)((LOW_BYTES - bytes) & ~7ull), total = (uint32_t)bytes;
    memcpy(low + at, data, bytes);
    memcpy(low + at, &total, 4);
    if (multiboot_parse(0x36d76289, at, image, &facts))
        return;
    const struct memmap *m = &boot_memory.usable;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->range[i].base >= m->range[i].end || m->range[i].end > m->top ||
            (i && m->range[i - 1].end >= m->range[i].base) ||
            (m->range[i].base < image.end && m->range[i].end > image.base))
            abort();
    if (facts.info.modules > BOOT_MODULE_MAX || (boot_memory.trampoline & 0xfff) ||
        boot_memory.trampoline >= 0x9f000 || strlen(facts.info.options) >= BOOT_OPTIONS_MAX)
        abort();
    const struct boot_screen *s = &facts.info.screen;
    if (s->width && (s->hpa % PAGE_SIZE || s->pitch < s->width * (s->text ? 2 : 4) ||
                     memmap_has(m, s->hpa, s->hpa + (uint64_t)s->pitch * s->height)))
        abort();
    acpi_parse(boot_memory.rsdp, boot_memory.rsdp_bytes);
}

// Makes the address that is at `where` one in [base, end of what is mapped).
static uint32_t relocate(uint64_t where, uint64_t base)
{
    uint32_t address;
    memcpy(&address, low + where, 4);
    address = (uint32_t)(base + address % (LOW_BYTES - base));
    put32(where, address);
    return address;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (!low)
        low_start();
    log_said[0] = 0;
    if (bytes < 40 || bytes > 8192)
        return 0;
    if (data[0] & 1) {
        fuzz_multiboot(data + 1, bytes - 1);
        return 0;
    }
    // An RSDP, then tables: addresses in the input are relative to its start.
    uint64_t at = LOW_BYTES - bytes;
    memcpy(low + at, data, bytes);
    uint32_t root = relocate(at + 16, at);
    put64(at + 24, root);
    if ((uint64_t)root + 60 <= LOW_BYTES) { // and the first three tables of the list
        for (unsigned i = 0; i < 3; i++) {
            uint64_t t = relocate(root + 36 + 4 * i, at);
            if (t + 148 <= LOW_BYTES && memcmp(low + t, "FACP", 4) == 0) // DSDT, X_DSDT
                put64(t + 140, relocate(t + 40, at));
        }
    }
    acpi_parse(low + at, data[1] & 1 ? 36 : 20);
    if (acpi.cores > CPU_MAX || acpi.ioapics > ARRAY_SIZE(acpi.ioapic) ||
        (acpi.sleeps && (acpi.sleep_type[0] > 7 || acpi.sleep_type[1] > 7)))
        abort();
    return 0;
}
