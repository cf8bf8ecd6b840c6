// SPDX-License-Identifier: BSD-2-Clause
// What a new process is given: handles in its table, and the start block that names them. Keeps
// nothing; the manager's thread only.
#include <stdio.h>
#include <string.h>
#include "libc/kcall.h"
#include "vmm/manager/manager.h"

static struct start_block block; // too large for the stack; filled anew for each process

static void block_init(const struct manager *manager, enum start_role role)
{
    const struct boot_info *boot = manager->boot;
    memset(&block, 0, sizeof(block));
    block.magic = START_MAGIC;
    block.tsc_hz = boot->tsc_hz;
    block.fast_strings = (uint8_t)boot->fast_strings;
    block.apic_page = boot->apic_page;
    block.entry_tsc = boot->entry_tsc;
    block.wall_seconds = manager->wall_seconds;
    block.wall_tsc = manager->wall_tsc;
    block.role = role;
}

// What goes into the new process's table; *status keeps the first failure.
static handle_t given(int64_t slot, int64_t *status)
{
    if (slot < 0) {
        *status = slot;
    }
    return slot < 0 ? 0 : (handle_t)slot;
}

static handle_t give(handle_t process, handle_t h, uint32_t rights, int64_t *status)
{
    return *status < 0 ? 0 : given(kcall_handle_copy(process, h, rights, 0), status);
}

// An event of somebody else's, to signal these bits of it.
static handle_t give_bits(handle_t process, handle_t event, uint64_t bits, int64_t *status)
{
    return *status < 0 ? 0 : given(kcall_handle_copy_bits(process, event, RIGHT_USE, 0, bits),
                                   status);
}

static void console_line(struct start_line *line, const char *name, handle_t process,
                         handle_t memory, handle_t event, uint64_t bits, int64_t *status)
{
    snprintf(line->name, sizeof(line->name), "%s", name);
    line->memory = give(process, memory, RIGHT_READ | RIGHT_WRITE, status);
    line->event = give_bits(process, event, bits, status);
    line->bits = bits;
}

// The serial port. The right to give ports away stays here, for the console's next process.
static void console_give_port(struct manager *manager, handle_t process, int64_t *status)
{
    struct start_console *start = &block.console;
    const struct manager_port port = manager->port;
    start->port = port.first;
    start->divisor = port.divisor;
    if (port.irq != 0) {
        start->irq = give(process, port.irq, RIGHT_USE, status);
        *status = *status < 0 ? *status
                              : kcall_irq_bind(port.irq, manager->console_event, CONSOLE_BIT_IRQ);
    }
    if (port.first != 0 && *status >= 0) {
        *status = kcall_ioports_grant(process, BOOT_HANDLE_PORTS, port.first, 8);
    }
}

// The screen, and what the kernel has shown on it.
static void console_give_screen(struct manager *manager, handle_t process, int64_t *status)
{
    struct start_console *start = &block.console;
    const struct manager_log *log = &manager->kernel_log;
    if (manager->boot->screen.width == 0) {
        return;
    }
    start->mode = manager->boot->screen;
    start->screen = give(process, BOOT_HANDLE_SCREEN, RIGHT_READ | RIGHT_WRITE, status);
    if (!report_kernel_log_again(manager)) {
        report_kernel_log_skip(manager);
        start->said_len = log->len < START_SAID_MAX ? log->len : START_SAID_MAX;
        memcpy(start->said, log->text + log->len - start->said_len, start->said_len);
    }
}

int64_t wire_console(struct manager *manager, handle_t process, const struct start_block **to)
{
    struct start_console *start = &block.console;
    int64_t status = OK;
    block_init(manager, START_CONSOLE);
    *to = &block;
    start->event = give(process, manager->console_event, RIGHT_USE | RIGHT_WAIT, &status);
    console_give_port(manager, process, &status);
    console_give_screen(manager, process, &status);
    start->lines = manager->vms + 1;
    start->again = manager->console_start_tsc != 0;
    console_line(&start->line[0], MANAGER_NAME, process, manager->line_memory, manager->event,
                 MANAGER_BIT_LINE | CONSOLE_BIT_FLUSHED, &status);
    start->line[0].bits = MANAGER_BIT_LINE; // when it has input or room
    for (uint32_t i = 0; i < manager->vms; i++) {
        const struct manager_vm *vm = &manager->vm[i];
        console_line(&start->line[i + 1], vm->config->name, process, vm->line, vm->event,
                     VMM_BIT_CONSOLE, &status);
    }
    return status;
}

// Gives the VMM a boot module to read; -> its slot and its size.
static handle_t vm_give_module(const struct boot_info *boot, handle_t process, const char *path,
                               uint64_t *bytes, int64_t *status)
{
    int index = module_find(boot, "image", config_module_name(path));
    if (index < 0) {
        *status = ERR_STATE; // config_check() has seen it, and modules do not go away
        return 0;
    }
    *bytes = boot->module[index].bytes;
    return give(process, boot->module[index].handle, RIGHT_READ, status);
}

// Name and command line of a module are cut out of the config's text for it.
static void vm_give_modules(const struct manager *manager, const struct config_vm *config,
                            handle_t process, int64_t *status)
{
    struct start_vmm *start = &block.vmm;
    _Static_assert(CONFIG_MAX_MODULES == START_MODULE_MAX &&
                   CONFIG_MODULE_TEXT == START_MODULE_TEXT, "what the config has fits");
    memcpy(start->module_text, config->module_text, sizeof(start->module_text));
    for (; start->modules < config->n_modules; start->modules++) {
        const struct config_module *from = &config->modules[start->modules];
        const char *path = config->module_text + from->path;
        struct start_module *module = &start->module[start->modules];
        module->name = (uint16_t)(config_module_name(path) - config->module_text);
        module->cmdline = from->cmdline;
        module->file = vm_give_module(manager->boot, process, path, &module->bytes, status);
    }
}

int64_t wire_vmm(struct manager *manager, uint32_t index, handle_t process,
                 const struct start_block **to)
{
    const struct manager_vm *vm = &manager->vm[index];
    const struct config_vm *config = vm->config;
    struct start_vmm *start = &block.vmm;
    int64_t status = OK;
    block_init(manager, START_VMM);
    *to = &block;
    snprintf(start->name, sizeof(start->name), "%s", config->name);
    snprintf(start->cmdline, sizeof(start->cmdline), "%s", config->cmdline);
    snprintf(start->image_name, sizeof(start->image_name), "%s",
             config_module_name(config->image));
    start->memory = config->memory;
    start->debug = manager->config.log == CONFIG_LOG_DEBUG;
    start->hpet = config->hpet;
    start->testdev = config->testdev;
    start->watchdog = config->watchdog;
    start->watchdog_s = config->watchdog_s;
    start->watchdog_bitten = vm->state == VM_HUNG;
    start->panic_ends = config->restart != CONFIG_RESTART_NEVER;
    start->catch_up = config->catch_up;
    start->event = give(process, vm->event, RIGHT_USE | RIGHT_WAIT, &status);
    start->manager_bit = 1ull << index;
    start->manager = give_bits(process, manager->event, start->manager_bit, &status);
    start->notes = give_bits(process, vm->notes, VMM_NOTE_PANIC, &status);
    start->image = vm_give_module(manager->boot, process, config->image, &start->image_bytes,
                                  &status);
    if (config->initrd[0] != '\0') {
        start->initrd = vm_give_module(manager->boot, process, config->initrd,
                                       &start->initrd_bytes, &status);
    }
    vm_give_modules(manager, config, process, &status);
    start->flat = config->flat;
    start->flat_gpa = config->flat_gpa;
    start->entry32 = config->entry32;
    start->vcpus = config->vcpus;
    console_line(&start->console, config->name, process, vm->line, manager->console_event,
                 1ull << (index + 1), &status);
    return status;
}
