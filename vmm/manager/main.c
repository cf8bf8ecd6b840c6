// SPDX-License-Identifier: BSD-2-Clause
// The manager's story, from the boot information to the end of the last VM. One thread.
#include <stddef.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

// A VMM may have to wait for its core: then the audit at boot is made without it.
#define AUDIT_WAIT_NS (60ull * 1000000000)
#define AUDIT_LOOK_NS 20000000ull

static void config_message(void *opaque, const struct config_diag *diag)
{
    char text[400];
    config_diag_format(text, sizeof(text), diag);
    report(opaque, "%s\n", text);
}

// Of all configs and images, whether anybody names them or not.
static uint64_t file_bytes(const struct boot_info *boot)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < boot->modules && i < BOOT_MODULE_MAX; i++) {
        const char *name = boot->module[i].name;
        if (strncmp(name, "config:", 7) == 0 || strncmp(name, "image:", 6) == 0) {
            bytes += config_file_bytes(boot->module[i].bytes);
        }
    }
    return bytes;
}

// Memory that VMs may have: what `check` finds for such a machine; or else what there is.
static uint64_t memory_for_vms(struct manager *manager)
{
    const struct config_machine machine = {
        .ram = manager->boot->ram,
        .cores = manager->boot->cores,
        .files = file_bytes(manager->boot),
    };
    uint64_t rule = config_memory_for_vms(&machine);
    struct process_status self;
    struct system_info info;
    if (kcall_process_status(HANDLE_SELF, &self) != OK ||
        kcall_system_info(BOOT_HANDLE_SYSTEM, &info) != OK) {
        return 0;
    }
    uint64_t bytes = self.quota - self.used;
    if (bytes > info.frames_free * PAGE_SIZE) {
        bytes = info.frames_free * PAGE_SIZE;
    }
    bytes = bytes > CONFIG_RESERVE ? bytes - CONFIG_RESERVE : PAGE_SIZE;
    if (bytes < rule) {
        report(manager, "the firmware or the CPU leaves VMs %llu KB less than such a machine's "
               "%llu KB\n", (unsigned long long)(rule - bytes) >> 10,
               (unsigned long long)rule >> 10);
        return bytes;
    }
    return rule;
}

static void read_config(struct manager *manager)
{
    const struct boot_info *boot = manager->boot;
    const struct config_sink sink = {.report = config_message, .ctx = manager};
    uint32_t others;
    manager->config.console = (struct config_console){.port = CONFIG_COM1, .baud = CONFIG_BAUD_MAX};
    int index = module_find_config(boot, &others);
    if (index < 0) {
        report(manager, "there is no config file among the boot modules: put one in "
               "/boot/bulkhead/config\n");
        return;
    }
    if (others > 0) {
        report(manager, "the config is %s; %u other file%s in /boot/bulkhead/config: not read\n",
               module_name(boot, index), (unsigned)others, others == 1 ? "" : "s");
    }
    uint64_t len = boot->module[index].bytes;
    const char *text = len > 0 ? module_map(boot, index, 0) : "";
    if (text == NULL) {
        report(manager, "%s: it cannot be mapped (%llu bytes)\n", module_name(boot, index),
               (unsigned long long)len);
        return;
    }
    config_parse(&manager->config, module_name(boot, index), text, len, &sink);
    manager->vm_memory = memory_for_vms(manager);
    const struct config_host host = {
        .find = module_config_find,
        .ctx = manager,
        .looked_in = "among the boot modules",
        .memory = manager->vm_memory,
        .vm_overhead = CONFIG_VM_OVERHEAD,
        .max_vms = CONFIG_RUN_MAX,
        .cores = boot->cores,
    };
    config_check(&manager->config, &host, &sink);
}

static void start_vms(struct manager *manager)
{
    if (program_find(manager, &manager->vmm_program, "vmm")) {
        for (uint32_t i = 0; i < manager->vms; i++) {
            if (manager->vm[i].state != VM_WAITING) {
                vms_start(manager, i);
            }
        }
    }
    if (vms_wait(manager)) {
        report(manager, "no VM starts by itself: `vm start NAME` in the monitor (Ctrl-] m) does\n");
        return;
    }
    if (manager->running == 0) {
        report(manager, "no VM could be started\n");
        manager->none_started = true;
        return;
    }
    moves_report_shares(manager);
    manager->audit_by_tsc = ns_to_tsc(time_host_ns() + AUDIT_WAIT_NS);
}

// The audit at boot, once every VM has its memory. -> when to look again, 0 if it has been made
static uint64_t audit_when_made(struct manager *manager)
{
    if (manager->audit_by_tsc == 0) {
        return 0;
    }
    if (!vms_made(manager) && tsc_read() < manager->audit_by_tsc) {
        return ns_to_tsc(time_host_ns() + AUDIT_LOOK_NS);
    }
    manager->audit_by_tsc = 0;
    vms_balance(manager); // one that could not be set up has left room
    report_audit(manager);
    report_free_memory(manager, "");
    return 0;
}

void manager_serve(struct manager *manager, uint64_t deadline)
{
    uint64_t bits;
    if (kcall_event_wait(manager->event, UINT64_MAX, deadline, &bits) != OK) {
        return;
    }
    if (bits & MANAGER_BIT_CONSOLE) {
        console_ended(manager);
    }
    if (bits & MANAGER_BIT_LINE) {
        monitor_input(manager);
    }
    uint64_t ended = bits & ((1ull << manager->vms) - 1);
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (ended & 1ull << i) {
            vms_ended(manager, i);
        }
    }
}

// Of two deadlines; 0 is none.
static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

// The kernel can hand on a small status of its own only: who wants that of the last VM's test board
// reads this line.
static void report_off(struct manager *manager)
{
    bool failed = vms_failed(manager);
    const char *how = failed ? "no VM runs any more" : "all VMs are off";
    if (manager->last != NULL && manager->last->state == VM_EXITED) {
        report(manager, "%s: powering off, status %u of VM '%s'\n", how,
               (unsigned)vms_exit_status(manager->last), manager->last->config->name);
    } else {
        report(manager, "%s: powering off%s\n", how, failed ? ", status 1" : "");
    }
}

uint32_t manager_run(struct manager *manager, const struct boot_info *boot)
{
    manager->boot = boot;
    int64_t event = kcall_event_create(), console_event = kcall_event_create();
    manager->event = (handle_t)event;
    manager->console_event = (handle_t)console_event;
    if (event < 0 || console_event < 0 || report_init(manager) < 0) {
        static const char text[] = "manager: no memory to begin with\n";
        report_log(text, sizeof(text) - 1);
        return 1;
    }
    faults_count(&boot->faults);
    if (boot->faults.asked) {
        faults_list(&boot->faults); // who asks for something sees what became of it
    }
    date_read(manager);
    read_config(manager);
    options_check(manager);
    if (manager->config.log == CONFIG_LOG_DEBUG) {
        measure_syscall(manager);
    }
    move_system(manager);
    int64_t status = vms_prepare(manager);
    if (status < 0) {
        report(manager, "the VMs' consoles cannot be made: %s\n", report_status(status));
    }
    console_begin(manager);
    if (report_kernel_log_again(manager)) {
        report_kernel_log(manager, true);
    }
    if (!boot->faults.asked) {
        faults_list(&boot->faults); // to be looked up: not at each boot on the serial line
    }
    if (manager->config.log == CONFIG_LOG_DEBUG) {
        report_kernel_log(manager, false);
    } else {
        report_kernel_log_skip(manager);
    }
    start_vms(manager);
    for (;;) {
        uint64_t audit = audit_when_made(manager), ended = vms_report_ended(manager);
        uint64_t sample = sample_run(manager), moves = moves_run(manager);
        uint64_t restarts = restarts_run(manager);
        vms_look_stuck(manager);
        if (manager->running == 0 && ended == 0 && restarts == 0 && !vms_wait(manager)) {
            break;
        }
        manager_serve(manager, sooner(sooner(sooner(audit, ended), sooner(sample, moves)),
                                      restarts));
    }
    report_off(manager);
    report_flush(manager);
    return vms_failed(manager);
}
